"""The child process that trains a checkout's own networks. Run by path, by the Python that has the tree's packages.

It imports nothing of vqcheck: torch and the standard library are all it needs, so it is one file. The oldest that it
was tried with are torch 1.13.1 and Python 3.8, the newest torch 2.13 and Python 3.11. It reads one JSON object a line
from stdin and answers each with one:

    load   the tree, sizes, hyper-parameters            ->  what was found in the tree
    arm    a strategy, features for a fresh codebook    ->  the VQ encoder as it starts
    step   a batch, and whether to attribute writes     ->  losses, writes, and those tensors that changed

A tensor is {"dtype", "shape", "data" (base64)}; those of a batch have the names that the tree's `forward` gives its
parameters. Whatever goes wrong is answered as {"error": one line}.
When stdin ends, because vqcheck ended in whatever way, the process exits at once.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import importlib
import inspect
import json
import os
import queue
import random
import sys
import threading
import time
import traceback
import types
import warnings
from typing import Any

OWN = os.path.abspath(__file__)
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(OWN)]  # run by path
try:
    import torch
    from torch import distributed
    from torch.utils._python_dispatch import TorchDispatchMode
except (ImportError, OSError) as problem:
    print(json.dumps({"error": f"{sys.executable} lacks packages: torch ({' '.join(str(problem).split())})"}))
    sys.exit()

FRAME_ENERGY, MEAN_COUNT = 1000 / 768, 20.0
"""Mean square of a projected feature, and a count that no code of a fresh codebook is dead with."""

SWITCHES = {"use_grad_ckpt": False}
"""Parameters of a `forward` that choose how, not what, it computes."""


class Fault(Exception):  # noqa: N818 - told to the user
    """What the user is told, in one line."""


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a tree may print whatever it likes
    # the last words of a process that dies are shown; advice on names that every torch knows must not be among them
    warnings.filterwarnings("ignore", category=FutureWarning, module="__main__")
    asked: queue.Queue[Any] = queue.Queue()
    # in a thread of its own, so that the end of vqcheck is noticed in the middle of a step or an import
    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    while True:
        try:
            answer: dict[str, Any] = {"ok": act(asked.get())}
        except Fault as fault:
            answer = {"error": str(fault)}
        except BaseException as error:  # noqa: BLE001 - SystemExit of a tree's module included
            answer = {"error": in_one_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def listen(asked: queue.Queue[Any]) -> None:
    """Put each request into the queue; exit with the whole process at the end of stdin."""
    for line in sys.stdin.buffer:
        asked.put(json.loads(line))
    os._exit(0)


STATE: dict[str, Any] = {}


def act(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request."""
    if request["do"] == "load":
        STATE["tree"] = Tree(request)
        return dict(STATE["tree"].found)
    if request["do"] == "arm":
        STATE.pop("arm", None)  # its memory is free before another one is made
        STATE["arm"] = Arm(STATE["tree"], request["strategy"], from_json(request["features"]))
        return {"tensors": STATE["arm"].snapshot()}
    try:
        told: dict[str, Any] = STATE["arm"].step(request)
    except BaseException as error:
        raise Fault(f"step {request['number']} raised {in_one_line(error)}") from error
    return told


# what is in the tree


class Tree:
    """A checkout's classes, imported, and everything that all arms share."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request, self.device = request, request["device"]
        self.models = import_models(request["checkout"])
        flow_matching = request["version"] in ("v3", "v4")
        name = request["generator"] or ("SynthesizerTrnV3" if flow_matching else "SynthesizerTrn")
        self.generator = self._class(name, f"; is it older than {request['version']}?" if flow_matching else "")
        self.matches_flows = "mel" in parameters(self.generator.forward)
        self.version = self._version(request["version"])
        # only an adversarial training has one
        self.discriminator = None if self.matches_flows else self._class("MultiPeriodDiscriminator")
        one_rank()
        net_g, _ = self.build()
        for name in ("quantizer", "ssl_proj", "enc_p", *(["linear_mel"] if self.matches_flows else [])):
            if not hasattr(net_g, name):
                kind = self.generator.__name__
                raise Fault(f"{self.models.__file__}: its {kind} has no {name}, so its training is another one")
        self.pro = hasattr(net_g, "sv_emb")
        if self.version.startswith("v2Pro") and not self.pro:
            raise Fault(f"{request['checkout']}: this tree knows no {self.version}; it is older than that version")
        self.names = self._names_of_inputs()
        self.found = {
            "version": self.version,
            "table": net_g.enc_p.text_embedding.num_embeddings,
            "ssl_dim": net_g.ssl_proj.in_channels,
            "sv_dim": net_g.sv_emb.in_features if self.pro else None,
            "mel_channels": net_g.linear_mel.out_channels if self.matches_flows else None,
            "tensors": list(net_g.state_dict()),
            "torch": str(torch.__version__),
        }

    def _class(self, name: str, hint: str = "") -> Any:
        found = getattr(self.models, name, None)
        if not inspect.isclass(found):
            raise Fault(f"{self.models.__file__}: has no class {name}{hint}")
        return found

    def _version(self, asked: str | None) -> str:
        kind, known = self.generator.__name__, "version" in parameters(self.generator)
        oldest, newest = ("v3", "v3") if self.matches_flows else ("v1", "v2")
        if asked is None:
            return newest if known else oldest
        if self.matches_flows != (asked in ("v3", "v4")):
            raise Fault(f"{kind} of {self.request['checkout']} is not trained as {asked} is")
        if asked != oldest and not known:
            raise Fault(f"{kind} of {self.request['checkout']} knows only {oldest}; it is older than {asked}")
        return asked

    def _names_of_inputs(self) -> list[str]:
        """Return the parameters of `forward` that a batch has values for; without one that must be given it fails."""
        known = {"ssl", "ssl_lengths", "y", "y_lengths", "text", "text_lengths"}
        known |= {"mel", "mel_lengths", *SWITCHES} if self.matches_flows else {"sv_emb"} if self.pro else set()
        asked = {name: each for name, each in parameters(self.generator.forward).items() if name != "self"}
        for name, each in asked.items():
            optional = each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
            if name not in known and not optional:
                kind = self.generator.__name__
                raise Fault(f"{kind}.forward has another signature than GPT-SoVITS's: it takes {name}")
        return [name for name in asked if name in known]

    def build(self) -> tuple[Any, ...]:
        """Return both networks as the tree builds them, with the same weights each time, on the CPU."""
        request = self.request
        seed_all(request["seed"])
        sizes = {**request["model"], **self._own_version(self.generator)}
        try:
            net_g = self.generator(request["spec_channels"], request["segment"], n_speakers=300, **sizes)
        except TypeError as error:
            kind = self.generator.__name__
            raise Fault(f"{kind} has another signature than GPT-SoVITS's: {in_one_line(error)}") from error
        if self.discriminator is None:
            return net_g, None
        own = self._own_version(self.discriminator)
        try:
            return net_g, self.discriminator(request["use_spectral_norm"], **own)
        except TypeError as error:
            raise Fault(f"MultiPeriodDiscriminator has another signature: {in_one_line(error)}") from error

    def _own_version(self, kind: Any) -> dict[str, str]:
        return {"version": self.version} if "version" in parameters(kind) else {}

    def start(self, features: Any) -> tuple[Any, ...]:
        """Return both networks with the weights that training starts from."""
        nets = self.build()
        for net, path in zip(nets, (self.request["pretrained_g"], self.request["pretrained_d"])):  # noqa: B905
            if net is not None and path:
                try:
                    net.load_state_dict(torch.load(path, map_location="cpu"), strict=False)
                except RuntimeError as error:
                    raise Fault(f"the pretrained weights do not fit this tree: {in_one_line(error)[:300]}") from None
        if not self.request["pretrained_g"]:
            fresh_codebook(nets[0], features)
        return nets


def import_models(checkout: str) -> Any:
    """Import GPT_SoVITS/module/models.py as the tree's own scripts do."""
    sys.path[:0] = [os.path.join(checkout, "GPT_SoVITS"), checkout]
    try:
        return importlib.import_module("module.models")
    except ModuleNotFoundError as error:
        missing = ", ".join(missing_packages(error))
        raise Fault(f"{sys.executable} lacks packages that this tree imports: {missing}") from None
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise Fault(f"{where}: this Python {sys.version.split()[0]} cannot read it: {error.msg}") from None
    except BaseException as error:
        raise Fault(f"module.models cannot be imported: {in_one_line(error)}") from error


def missing_packages(error: ModuleNotFoundError) -> list[str]:
    """Return the names of all packages that the tree lacks: each gets an empty stand-in until no other is missing."""
    missing: list[str] = []
    while error.name and error.name not in missing:
        missing.append(error.name)
        stand_in = types.ModuleType(error.name)
        vars(stand_in).update(__path__=[], __getattr__=lambda name: type(name, (), {}))
        sys.modules[error.name] = stand_in
        try:
            importlib.import_module("module.models")
        except ModuleNotFoundError as another:
            error = another
        except BaseException:  # noqa: BLE001 - what only an empty package breaks is of no interest
            break
    return list(dict.fromkeys(name.split(".")[0] for name in missing)) or ["?"]


def seed_all(seed: int) -> None:
    """Let every generator that a tree may draw from begin anew."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def one_rank() -> None:
    """Give the tree's quantizer the rank it asks for, without any port."""
    if distributed.is_available() and not distributed.is_initialized():
        distributed.init_process_group("gloo", store=vars(distributed)["HashStore"](), rank=0, world_size=1)


def parameters(called: Any) -> Any:
    """Return the parameters of a class or function by name."""
    return inspect.signature(called).parameters


def codebooks(net_g: Any) -> list[Any]:
    return [each for each in net_g.quantizer.modules() if hasattr(each, "embed") and hasattr(each, "cluster_size")]


def fresh_codebook(net_g: Any, features: Any) -> None:
    """Give the projection the energy it has in trained models, and fill the codebook with frames `[N, dim]`."""
    with torch.no_grad():
        projected = net_g.ssl_proj(features)
        net_g.ssl_proj.weight.mul_((FRAME_ENERGY / projected.var()).sqrt())
        frames = net_g.ssl_proj(features)[0].t()
        for book in codebooks(net_g):
            count = book.embed.shape[0]
            order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))
            order = order.repeat(-(-count // len(frames)))[:count]
            noise = torch.randn(book.embed.shape, generator=torch.Generator().manual_seed(1))
            book.embed.copy_(frames[order] + 0.01 * frames.std() * noise)
            book.cluster_size.fill_(MEAN_COUNT)
            book.embed_avg.copy_(book.embed * MEAN_COUNT)
            book.inited.fill_(1)


# strategies, from outside


def apply(strategy: str, net_g: Any) -> None:
    """Undo what the tree itself does to freeze, then freeze in the named way; `as-is` leaves everything alone."""
    if strategy == "as-is":
        return
    parts = (net_g.quantizer, net_g.ssl_proj)
    for part in parts:
        part.requires_grad_(strategy not in ("requires-grad", "freeze"))
        held = strategy == "freeze"
        set_mode(part, not held)
        # the tree's own eval() no longer reaches it; under `freeze`, train() neither
        part.train = lambda mode=True, part=part, held=held: set_mode(part, not held) if mode else part
    if strategy == "eval-at-init":
        for part in parts:
            set_mode(part, False)
    if strategy in ("no-grad", "maybe-no-grad"):
        for part in parts:
            part.forward = without_gradient(part.forward)
    if strategy in ("eval-in-forward", "maybe-no-grad"):
        net_g.register_forward_pre_hook(lambda *_: [set_mode(part, False) for part in parts] and None)


def set_mode(module: Any, mode: bool) -> Any:
    for each in module.modules():
        each.training = mode
    return module


def without_gradient(forward: Any) -> Any:

    def inner(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return forward(*args, **kwargs)

    return inner


# the training step: that of vqcheck.replay.step, and for v3 and v4 one with neither discriminator nor several losses


class Arm:
    """One strategy on the networks, with optimizers and the gradient scaler."""

    def __init__(self, tree: Tree, strategy: str, features: Any) -> None:
        self.tree, numbers = tree, tree.request["training"]
        net_g, net_d = tree.start(features)
        apply(strategy, net_g)
        self.net_g, self.net_d = net_g.to(tree.device), net_d and net_d.to(tree.device)
        self.kept: dict[str, Any] = {}
        self.net_g.quantizer.register_forward_hook(self._keep)
        rate, betas, eps = numbers["learning_rate"], tuple(numbers["betas"]), numbers["eps"]
        groups = parameter_groups(self.net_g, rate, None if tree.matches_flows else numbers["text_low_lr_rate"])
        self.optim_g = torch.optim.AdamW(groups, rate, betas, eps)
        self.optim_d = net_d and torch.optim.AdamW(self.net_d.parameters(), rate, betas, eps)
        self.schedulers = [
            torch.optim.lr_scheduler.ExponentialLR(each, gamma=numbers["lr_decay"])
            for each in (self.optim_g, self.optim_d)
            if each
        ]
        self.fp16 = tree.request["fp16"]
        self.scaler = torch.cuda.amp.GradScaler(enabled=self.fp16)
        self.filters = from_json(tree.request["filters"]).to(tree.device)
        self.skipped = False
        self.epoch = 0
        self.last: dict[str, Any] = {}
        seed_all(tree.request["seed"])

    def watched(self) -> dict[str, Any]:
        """Return the tensors of the VQ encoder as they stand now."""
        parts = {"ssl_proj": self.net_g.ssl_proj, "quantizer": self.net_g.quantizer}
        return {f"{part}.{name}": value for part, each in parts.items() for name, value in each.state_dict().items()}

    def snapshot(self) -> dict[str, Any]:
        """Return those tensors whose bits changed since the last snapshot."""
        now = self.watched()
        changed = [name for name, value in now.items() if name not in self.last or not same(value, self.last[name])]
        self.last.update({name: now[name].detach().clone() for name in changed})
        return {name: to_json(now[name]) for name in changed}

    def step(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train once, and tell what happened."""
        batch = {name: from_json(value).to(self.tree.device) for name, value in request["batch"].items()}
        if request["epoch"] != self.epoch:
            self.epoch = request["epoch"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # upstream, too, steps its schedulers first
                for scheduler in self.schedulers:
                    scheduler.step()
            for net in (self.net_g, self.net_d):
                net and net.train()
        catcher = make_catcher(self.watched) if request["trace"] else None
        begun = time.perf_counter()
        with catcher or contextlib.nullcontext():
            losses, commit_loss, norms = (self._match_flow if self.tree.matches_flows else self._train_both)(batch)
        self.kept.pop("commit_loss", None)  # and with it the graph
        if self.tree.device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        return {
            "losses": {name: float(value.detach()) for name, value in losses.items()},
            "norms": {name: float(value) for name, value in norms.items()},
            "commit_loss": float(commit_loss.detach()),
            "training": self.kept.get("training"),
            "shadow": self._shadow(),
            "skipped": self.skipped,
            "learning_rate": self.optim_g.param_groups[0]["lr"],
            "seconds": None if catcher else seconds,
            "writes": catcher.first if catcher else {},
            "tensors": self.snapshot(),
        }

    def _train_both(self, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Train the discriminator, then the generator; return losses, commit loss and gradient norms."""
        sizes = self.tree.request["spectrogram"]
        hop, segment = sizes["hop_length"], self.tree.request["segment"]
        with self._autocast():
            y_hat, kl_ssl, ids, _, z_mask, (_, z_p, m_p, logs_p, _, logs_q), *_ = self._forward(batch)
            y_mel = cut(self._mel(batch["y"]), ids, segment)
            y_hat_mel = self._mel(spectrum(y_hat.squeeze(1), sizes))
            y = cut(batch["wav"], ids * hop, segment * hop)
            real, fake, _, _ = self.net_d(y, y_hat.detach())
        loss_disc = sum(((1 - r.float()) ** 2).mean() + (f.float() ** 2).mean() for r, f in zip(real, fake))  # noqa: B905
        norm_d = self._learn(self.optim_d, self.net_d, loss_disc)

        with self._autocast():
            _, fake, real_maps, fake_maps = self.net_d(y, y_hat)
        pairs = [(r.detach().float(), g.float()) for rs, gs in zip(real_maps, fake_maps) for r, g in zip(rs, gs)]  # noqa: B905
        numbers = self.tree.request["training"]
        divergence = logs_p.float() - logs_q.float() - 0.5
        divergence = divergence + 0.5 * (z_p.float() - m_p.float()) ** 2 * torch.exp(-2 * logs_p.float())
        losses = {
            "generator": sum(((1 - f.float()) ** 2).mean() for f in fake),
            "feature": 2 * sum((r - g).abs().mean() for r, g in pairs),
            "mel": numbers["c_mel"] * (y_mel.float() - y_hat_mel.float()).abs().mean(),
            "kl": numbers["c_kl"] * (divergence * z_mask).sum() / z_mask.sum(),
        }
        norm_g = self._learn(self.optim_g, self.net_g, sum(losses.values()) + kl_ssl)
        self.scaler.update()
        return {"discriminator": loss_disc, **losses}, kl_ssl, {"discriminator": norm_d, "generator": norm_g}

    def _match_flow(self, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Train on the one loss that `forward` returns; the commit loss, which it may return too, is not part of it."""
        with self._autocast():
            told = self._forward(batch)
        commit_loss = self.kept.get("commit_loss")
        several = [told] if torch.is_tensor(told) else list(told)
        losses = [each for each in several if torch.is_tensor(each) and each.numel() == 1 and each.requires_grad]
        losses = [each for each in losses if each is not commit_loss]
        if len(losses) != 1:
            raise Fault(f"forward returned {len(losses)} losses that can be trained on, where flow matching has one")
        norm_g = self._learn(self.optim_g, self.net_g, losses[0])
        self.scaler.update()
        nothing = torch.tensor(float("nan"))
        return {"flow matching": losses[0]}, nothing if commit_loss is None else commit_loss, {"generator": norm_g}

    def _forward(self, batch: dict[str, Any]) -> Any:
        given = {**SWITCHES, **batch}
        return self.net_g(**{name: given[name] for name in self.tree.names})

    def _learn(self, optimizer: Any, net: Any, loss: Any) -> Any:
        """Take one step of an optimizer; return the norm of all gradients, of which nothing is clipped."""
        optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        norms = [each.grad.float().norm() for each in net.parameters() if each.grad is not None]
        taken = steps_taken(optimizer, lambda: self.scaler.step(optimizer))
        self.skipped = not taken  # the generator, which holds the projection, is the last to learn
        return torch.stack(norms).norm() if norms else torch.zeros(())

    def _autocast(self) -> Any:
        return torch.cuda.amp.autocast(enabled=True) if self.fp16 else contextlib.nullcontext()

    def _mel(self, spec: Any) -> Any:
        return (self.filters.to(spec.dtype) @ spec).clamp(min=1e-5).log()

    def _keep(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        self.kept = {"training": bool(module.training), "x": args[0].detach(), "q": output[0].detach()}
        if len(output) > 2 and torch.is_tensor(output[2]) and output[2].numel() == 1:
            self.kept["commit_loss"] = output[2]

    def _shadow(self) -> float:
        x, q = self.kept.pop("x", None), self.kept.pop("q", None)
        return float(((x - q) ** 2).mean()) if x is not None and x.shape == q.shape else float("nan")


def parameter_groups(net_g: Any, rate: float, text_rate: float | None) -> list[Any]:
    """Return what requires a gradient; and, unless `text_rate` is None, apart and slower, the parts that read text."""
    names = () if text_rate is None else ("text_embedding", "encoder_text", "mrte")
    text = [list(getattr(net_g.enc_p, name).parameters()) for name in names if hasattr(net_g.enc_p, name)]
    slow = {id(each) for part in text for each in part}
    base = [each for each in net_g.parameters() if each.requires_grad and id(each) not in slow]
    return [{"params": base, "lr": rate}, *({"params": part, "lr": rate * (text_rate or 1)} for part in text)]


def steps_taken(optimizer: Any, work: Any) -> int:
    """Return how many steps an optimizer takes in a call: a scaler takes none while gradients overflow."""
    taken: list[None] = []
    own = optimizer.step

    def counted(*args: Any, **kwargs: Any) -> Any:
        taken.append(None)
        return own(*args, **kwargs)

    optimizer.step = counted
    try:
        work()
    finally:
        optimizer.step = own
    return len(taken)


def spectrum(wave: Any, sizes: dict[str, Any]) -> Any:
    """Return magnitudes `[B, bins, N // hop]` of wave `[B, N]`, in float32: torch warns of half complex numbers."""
    wave = wave.float()
    size, hop = sizes["filter_length"], sizes["hop_length"]
    margin = (size - hop) // 2
    padded = torch.nn.functional.pad(wave[:, None], (margin, margin), mode="reflect")[:, 0]
    window = torch.hann_window(sizes["win_length"], dtype=wave.dtype, device=wave.device)
    bins = torch.stft(padded, size, hop, sizes["win_length"], window, center=False, onesided=True, return_complex=True)
    return (torch.view_as_real(bins).pow(2).sum(-1) + 1e-8).sqrt()


def cut(x: Any, starts: Any, size: int) -> Any:
    """Return `[B, C, size]`: from row b of x `[B, C, T]` what follows `starts[b]`."""
    places = starts[:, None] + torch.arange(size, device=x.device)
    return x.gather(2, places[:, None].expand(-1, x.size(1), -1))


# who wrote


def make_catcher(watched: Any) -> Any:
    """Return a context that finds the first operator, and its line, that changes bits of each watched tensor."""
    skipped = os.path.dirname(torch.__file__) + os.sep

    def here(operator: str) -> list[Any]:
        frame: Any = sys._getframe(1).f_back  # noqa: SLF001 - the documented way to walk the stack cheaply
        while frame and frame.f_code.co_filename.startswith(skipped):
            frame = frame.f_back
        code = frame and frame.f_code
        return [operator, code.co_filename, frame.f_lineno, code.co_name] if code else [operator, "", 0, ""]

    class Catcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.first: dict[str, Any] = {}
            self.copies = {name: value.detach().clone() for name, value in watched().items()}
            self.places, self.previous = self._places(), here("rebinding")

        def __torch_dispatch__(
            self, func: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if self._places() != self.places:
                self._look(list(self.copies), self.previous)
                self.places = self._places()
            result = func(*args, **(kwargs or {}))
            written = set()
            for number, argument in enumerate(func._schema.arguments):  # noqa: SLF001
                if argument.alias_info is not None and argument.alias_info.is_write:
                    value = args[number] if number < len(args) else (kwargs or {}).get(argument.name)
                    several = value if isinstance(value, (list, tuple)) else [value]
                    written |= {place_of(each) for each in several if torch.is_tensor(each)}
            touched = [name for name, place in self.places.items() if place in written]
            if touched:
                self._look(touched, here(str(func)))
            self.previous = here("rebinding")
            return result

        def _places(self) -> dict[str, Any]:
            return {name: place_of(value) for name, value in watched().items()}

        def _look(self, names: list[Any], place: list[Any]) -> None:
            now = watched()
            for name in names:
                if name in now and not same(now[name], self.copies.get(name)):
                    self.copies[name] = now[name].detach().clone()
                    self.first.setdefault(name, place)

    return Catcher()


def place_of(tensor: Any) -> int:
    """Return the address of a tensor's memory, which its views share."""
    address: int = getattr(tensor, "untyped_storage", tensor.storage)().data_ptr()  # torch 1.13 knows only the latter
    return address


def same(one: Any, other: Any) -> bool:
    """Tell whether two tensors have the same bits."""
    if other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    one, other = one.reshape(-1), other.reshape(-1)  # a scalar has no bytes to be viewed as
    return bool(torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)))


# tensors and errors on the wire


def to_json(tensor: Any) -> dict[str, Any]:
    """Return a tensor as JSON; without numpy, which torch does not need."""
    tensor = tensor.detach().cpu().contiguous()
    data = ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())
    dtype = str(tensor.dtype).split(".")[-1]
    return {"dtype": dtype, "shape": list(tensor.shape), "data": base64.b64encode(data).decode()}


def from_json(value: dict[str, Any]) -> Any:
    """Return a tensor from JSON."""
    data = bytearray(base64.b64decode(value["data"]))
    return torch.frombuffer(data, dtype=getattr(torch, value["dtype"])).reshape(value["shape"])


def in_one_line(error: BaseException) -> str:
    """Return type, text and place of an error: the innermost line that is not a package's, Python's or this file's."""
    text = " ".join(str(error).split())
    shown = f"{type(error).__name__}: {text}" if text else type(error).__name__
    foreign = (OWN, os.path.dirname(os.__file__) + os.sep, os.path.dirname(torch.__file__) + os.sep, "<frozen")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        installed = "site-packages" in frame.filename or "dist-packages" in frame.filename
        if not installed and not frame.filename.startswith(foreign):
            return f"{shown} ({frame.filename}:{frame.lineno} in {frame.name})"
    return shown


if __name__ == "__main__":
    main()
