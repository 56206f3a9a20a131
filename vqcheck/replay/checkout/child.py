"""The child process that trains a checkout's own networks. Run by path, by the Python that has the tree's packages.

It imports nothing of vqcheck: torch and the standard library are all it needs, so it is one file. It was
tried with torch 2.13 and with nothing older. It reads one JSON object a line from stdin and answers each with one:

    load   the tree, sizes, data for a fresh codebook   ->  what was found in the tree
    arm    a strategy                                   ->  the VQ encoder as it starts
    step   a batch, and whether to attribute writes     ->  losses, writes, and those tensors that changed

A tensor is {"dtype", "shape", "data" (base64)}. Whatever goes wrong is answered as {"error": one line}.
When stdin ends, because vqcheck ended in whatever way, the process exits at once.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import queue
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


class Fault(Exception):  # noqa: N818 - told to the user
    """What the user is told, in one line."""


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a tree may print whatever it likes
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
        found: dict[str, Any] = STATE["tree"].found()
        return found
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
        self.request = request
        self.models = import_models(request["checkout"])
        for name in ("SynthesizerTrn", "MultiPeriodDiscriminator"):
            if not inspect.isclass(getattr(self.models, name, None)):
                raise Fault(f"{self.models.__file__}: has no class {name}")
        self.generator_class = self.models.SynthesizerTrn
        self.discriminator_class = self.models.MultiPeriodDiscriminator
        self.version = self._version(request["version"])
        one_rank()
        self.device = request["device"]
        net_g, _ = self.build()
        for name in ("quantizer", "ssl_proj", "enc_p"):
            if not hasattr(net_g, name):
                raise Fault(f"{self.models.__file__}: its SynthesizerTrn has no {name}, so its training is another one")
        self.pro = hasattr(net_g, "sv_emb")
        if self.version.startswith("v2Pro") and not self.pro:
            raise Fault(f"{request['checkout']}: this tree knows no {self.version}; it is older than that version")
        self.table = net_g.enc_p.text_embedding.num_embeddings
        self.ssl_dim = net_g.ssl_proj.in_channels
        self.sv_dim = net_g.sv_emb.in_features if self.pro else None

    def _version(self, asked: str | None) -> str:
        known = takes(self.generator_class, "version")
        if asked in (None, "v1"):
            return asked or ("v2" if known else "v1")
        if not known:
            raise Fault(f"{self.request['checkout']}: this tree knows only v1; it is older than {asked}")
        return asked

    def found(self) -> dict[str, Any]:

        return {
            "version": self.version,
            "table": self.table,
            "ssl_dim": self.ssl_dim,
            "sv_dim": self.sv_dim,
            "torch": str(torch.__version__),
        }

    def build(self) -> tuple[Any, ...]:
        """Return both networks as the tree builds them, with the same weights each time, on the CPU."""
        request = self.request
        torch.manual_seed(request["seed"])
        sizes = {**request["model"], "version": self.version}
        try:
            net_g = self.generator_class(request["spec_channels"], request["segment"], n_speakers=300, **sizes)
        except TypeError as error:
            raise Fault(f"SynthesizerTrn has another signature than GPT-SoVITS's: {in_one_line(error)}") from error
        own = {"version": self.version} if takes(self.discriminator_class, "version") else {}
        try:
            net_d = self.discriminator_class(request["use_spectral_norm"], **own)
        except TypeError as error:
            raise Fault(f"MultiPeriodDiscriminator has another signature: {in_one_line(error)}") from error
        return net_g, net_d

    def start(self, features: Any) -> tuple[Any, ...]:
        """Return both networks with the weights that training starts from."""
        net_g, net_d = self.build()
        for net, path in ((net_g, self.request["pretrained_g"]), (net_d, self.request["pretrained_d"])):
            if path:
                try:
                    net.load_state_dict(torch.load(path, map_location="cpu"), strict=False)
                except RuntimeError as error:
                    raise Fault(f"the pretrained weights do not fit this tree: {in_one_line(error)[:300]}") from None
        if not self.request["pretrained_g"]:
            fresh_codebook(net_g, features)
        return net_g, net_d


def import_models(checkout: str) -> Any:
    """Import GPT_SoVITS/module/models.py as the tree's own scripts do."""
    sys.path[:0] = [os.path.join(checkout, "GPT_SoVITS"), checkout]
    try:
        return importlib.import_module("module.models")
    except ModuleNotFoundError as error:
        missing = missing_packages(error.name, checkout)
        raise Fault(f"{sys.executable} lacks packages that this tree imports: {', '.join(missing)}") from None
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise Fault(f"{where}: this Python {sys.version.split()[0]} cannot read it: {error.msg}") from None
    except BaseException as error:
        raise Fault(f"module.models cannot be imported: {in_one_line(error)}") from error


def missing_packages(first: str | None, checkout: str) -> list[Any]:
    """Import once more with each package that the tree lacks replaced by an empty one; return the names of all."""
    missing = [first or "?"]

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002
            top = name.split(".", maxsplit=1)[0]
            frame: Any = sys._getframe(1)  # noqa: SLF001
            while frame and "importlib" in frame.f_code.co_filename:
                frame = frame.f_back
            known = {each.split(".")[0] for each in missing}
            if top not in known and not (frame and frame.f_code.co_filename.startswith(checkout)):
                return None  # what an installed package would like to have is no concern of the tree's
            if top not in known:
                missing.append(top)
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

        def create_module(self, spec: Any) -> Any:
            module = types.ModuleType(spec.name)
            vars(module)["__getattr__"] = lambda name: type(name, (), {})
            return module

        def exec_module(self, module: Any) -> None:
            pass

    for name in [name for name in sys.modules if name.split(".")[0] == "module"]:
        del sys.modules[name]
    sys.meta_path.append(Finder())
    with contextlib.suppress(BaseException):  # what only an empty package breaks is of no interest
        importlib.import_module("module.models")
    sys.meta_path.pop()
    return list(dict.fromkeys(missing))


def one_rank() -> None:
    """Give the tree's quantizer the rank it asks for, without any port."""
    if distributed.is_available() and not distributed.is_initialized():
        distributed.init_process_group("gloo", store=vars(distributed)["HashStore"](), rank=0, world_size=1)


def takes(kind: type, name: str) -> bool:
    return name in inspect.signature(kind).parameters


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


# the training step, as vqcheck.replay.step has it


class Arm:
    """One strategy on both networks, with optimizers and the gradient scaler."""

    def __init__(self, tree: Tree, strategy: str, features: Any) -> None:

        self.tree, numbers = tree, tree.request["training"]
        net_g, net_d = tree.start(features)
        apply(strategy, net_g)
        self.net_g, self.net_d = net_g.to(tree.device), net_d.to(tree.device)
        self.kept: dict[str, Any] = {}
        self.net_g.quantizer.register_forward_hook(self._keep)
        rate, betas, eps = numbers["learning_rate"], tuple(numbers["betas"]), numbers["eps"]
        groups = parameter_groups(self.net_g, rate, numbers["text_low_lr_rate"])
        self.optim_g = torch.optim.AdamW(groups, rate, betas, eps)
        self.optim_d = torch.optim.AdamW(self.net_d.parameters(), rate, betas, eps)
        self.schedulers = [
            torch.optim.lr_scheduler.ExponentialLR(each, gamma=numbers["lr_decay"])
            for each in (self.optim_g, self.optim_d)
        ]
        self.fp16 = tree.request["fp16"]
        self.scaler = torch.cuda.amp.GradScaler(enabled=self.fp16)
        self.filters = from_json(tree.request["filters"]).to(tree.device)
        self.epoch = 0
        self.last: dict[str, Any] = {}
        torch.manual_seed(tree.request["seed"])

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
            self.net_g.train()
            self.net_d.train()
        catcher = make_catcher(self.watched) if request["trace"] else None
        begun = time.perf_counter()
        with catcher or contextlib.nullcontext():
            losses, commit_loss, norms = self._train(batch)
        if self.tree.device != "cpu":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
        return {
            "losses": {name: float(value.detach()) for name, value in losses.items()},
            "norms": {name: float(value) for name, value in norms.items()},
            "commit_loss": float(commit_loss.detach()),
            "training": self.kept.get("training"),
            "shadow": self._shadow(),
            "learning_rate": self.optim_g.param_groups[0]["lr"],
            "seconds": None if catcher else seconds,
            "writes": catcher.first if catcher else {},
            "tensors": self.snapshot(),
        }

    def _train(self, batch: dict[str, Any]) -> tuple[Any, ...]:

        sizes = self.tree.request["spectrogram"]
        hop, segment = sizes["hop_length"], self.tree.request["segment"]
        speaker = (batch["sv_emb"],) if self.tree.pro else ()
        with self._autocast():
            y_hat, kl_ssl, ids, _, z_mask, (_, z_p, m_p, logs_p, _, logs_q), *_ = self.net_g(
                batch["ssl"], batch["spec"], batch["spec_lengths"], batch["text"], batch["text_lengths"], *speaker
            )
            y_mel = cut(self._mel(batch["spec"]), ids, segment)
            y_hat_mel = self._mel(spectrum(y_hat.squeeze(1), sizes))
            y = cut(batch["wav"], ids * hop, segment * hop)
            real, fake, _, _ = self.net_d(y, y_hat.detach())
        loss_disc = sum(((1 - r.float()) ** 2).mean() + (f.float() ** 2).mean() for r, f in zip(real, fake))  # noqa: B905
        self.optim_d.zero_grad()
        self.scaler.scale(loss_disc).backward()
        self.scaler.unscale_(self.optim_d)
        norm_d = norm(self.net_d)
        self.scaler.step(self.optim_d)

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
        self.optim_g.zero_grad()
        self.scaler.scale(sum(losses.values()) + kl_ssl).backward()
        self.scaler.unscale_(self.optim_g)
        norm_g = norm(self.net_g)
        self.scaler.step(self.optim_g)
        self.scaler.update()
        norms = {"discriminator": norm_d, "generator": norm_g}
        return {"discriminator": loss_disc, **losses}, kl_ssl, norms

    def _autocast(self) -> Any:

        return torch.cuda.amp.autocast(enabled=True) if self.fp16 else contextlib.nullcontext()

    def _mel(self, spec: Any) -> Any:
        return (self.filters.to(spec.dtype) @ spec).clamp(min=1e-5).log()

    def _keep(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        self.kept = {"training": bool(module.training), "x": args[0].detach(), "q": output[0].detach()}

    def _shadow(self) -> float:
        x, q = self.kept.pop("x", None), self.kept.pop("q", None)
        return float(((x - q) ** 2).mean()) if x is not None and x.shape == q.shape else float("nan")


def parameter_groups(net_g: Any, rate: float, text_rate: float) -> list[Any]:
    parts = [getattr(net_g.enc_p, name, None) for name in ("text_embedding", "encoder_text", "mrte")]
    text = [list(part.parameters()) for part in parts if part is not None]
    slow = {id(each) for part in text for each in part}
    base = [each for each in net_g.parameters() if each.requires_grad and id(each) not in slow]
    return [{"params": base, "lr": rate}, *({"params": part, "lr": rate * text_rate} for part in text)]


def spectrum(wave: Any, sizes: dict[str, Any]) -> Any:
    """Return magnitudes `[B, bins, N // hop]` of wave `[B, N]`."""
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


def norm(module: Any) -> Any:

    return torch.stack([each.grad.float().norm() for each in module.parameters() if each.grad is not None]).norm()


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
                    written |= {each.untyped_storage().data_ptr() for each in several if torch.is_tensor(each)}
            touched = [name for name, place in self.places.items() if place in written]
            if touched:
                self._look(touched, here(str(func)))
            self.previous = here("rebinding")
            return result

        def _places(self) -> dict[str, Any]:
            return {name: value.untyped_storage().data_ptr() for name, value in watched().items()}

        def _look(self, names: list[Any], place: list[Any]) -> None:
            now = watched()
            for name in names:
                if name in now and not same(now[name], self.copies.get(name)):
                    self.copies[name] = now[name].detach().clone()
                    self.first.setdefault(name, place)

    return Catcher()


def same(one: Any, other: Any) -> bool:
    """Tell whether two tensors have the same bits."""
    if other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)))


# tensors and errors on the wire


def to_json(tensor: Any) -> dict[str, Any]:
    """Return a tensor as JSON."""
    data = tensor.detach().cpu().contiguous().numpy().tobytes()
    dtype = str(tensor.dtype).split(".")[-1]
    return {"dtype": dtype, "shape": list[Any](tensor.shape), "data": base64.b64encode(data).decode()}


def from_json(value: dict[str, Any]) -> Any:
    """Return a tensor from JSON."""
    data = bytearray(base64.b64decode(value["data"]))
    return torch.frombuffer(data, dtype=getattr(torch, value["dtype"])).reshape(value["shape"])


def in_one_line(error: BaseException) -> str:
    """Return type, text and place of an error: the innermost line that is neither torch's, Python's nor this file's."""
    foreign = (os.path.join("torch", ""), os.path.dirname(os.__file__) + os.sep, "<frozen")
    shown = f"{type(error).__name__}: {' '.join(str(error).split())}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        installed = any(part in frame.filename for part in ("site-packages", "dist-packages"))
        if frame.filename != OWN and not installed and not frame.filename.startswith(foreign[1:]):
            return f"{shown} ({frame.filename}:{frame.lineno} in {frame.name})"
    return shown


if __name__ == "__main__":
    main()
