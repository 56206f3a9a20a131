"""What is in a checkout: its classes, imported as its own scripts do, and the networks that they build."""

from __future__ import annotations

import importlib
import inspect
import os
import random
import sys
import types
from typing import Any

import torch
from torch import distributed

from vqcheck.errors import UsageError
from vqcheck.language import listed, tr
from vqcheck.replay.s2_training import fresh_vq_encoder
from vqcheck.replay.subject import in_one_line
from vqcheck.replay.training_step import SWITCHES

_OWN_MODULES = frozenset(
    (
        *("AR", "BigVGAN", "GPT_SoVITS", "TTS_infer_pack", "config", "eres2net", "f5_tts", "feature_extractor"),
        *("module", "my_utils", "process_ckpt", "sv", "text", "tools", "utils"),
    )
)
"""What modules at the top of GPT-SoVITS's trees are called; a tree that is not whole may lack any of them."""


class Tree:
    """A checkout's classes, imported, and everything that all arms share."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request, self.device = request, request["device"]
        self.models = import_models(request["checkout"])
        flow_matching = request["version"] in ("v3", "v4")
        name = request["generator"] or ("SynthesizerTrnV3" if flow_matching else "SynthesizerTrn")
        self.generator = self._class(name, request["version"] if flow_matching else "")
        self.matches_flows = "mel" in parameters(self.generator.forward)
        self.version = self._version(request["version"])
        # only an adversarial training has one
        self.discriminator = None if self.matches_flows else self._class("MultiPeriodDiscriminator")
        if request["lora_rank"] and not self.matches_flows:
            raise UsageError(
                tr(
                    "training.lora_rank: {generator} of this tree is not trained with LoRA",
                    generator=self.generator.__name__,
                )
            )
        join_ranks(request["ranks"], self.device)
        net_g, _ = self.build()
        for name in ("quantizer", "ssl_proj", "enc_p", *(["linear_mel"] if self.matches_flows else [])):
            if not hasattr(net_g, name):
                raise UsageError(
                    tr(
                        "its {generator} has no {part}, so its training is another one",
                        generator=self.generator.__name__,
                        part=name,
                    ),
                    self.models.__file__,
                )
        self.pro = hasattr(net_g, "sv_emb")
        if self.version.startswith("v2Pro") and not self.pro:
            raise UsageError(
                tr("this tree knows no {version}; it is older than that version", version=self.version),
                request["checkout"],
            )
        self.names = self._names_of_inputs()
        self.fresh: dict[str, torch.Tensor] = {}
        """The VQ encoder that arms start from where there are no pretrained weights."""
        self.found = {
            "version": self.version,
            "table": net_g.enc_p.text_embedding.num_embeddings,
            "ssl_dim": net_g.ssl_proj.in_channels,
            "sv_dim": net_g.sv_emb.in_features if self.pro else None,
            "mel_channels": net_g.linear_mel.out_channels if self.matches_flows else None,
            "tensors": list(net_g.state_dict()),
            "encoder": [name for name in net_g.state_dict() if name.startswith(("ssl_proj.", "quantizer."))],
            "torch": str(torch.__version__),
        }

    def _class(self, name: str, since: str = "") -> Any:
        found = getattr(self.models, name, None)
        if not inspect.isclass(found):
            raise UsageError(
                tr("has no class {name}; is it older than {version}?", name=name, version=since)
                if since
                else tr("has no class {name}", name=name),
                self.models.__file__,
            )
        return found

    def _version(self, asked: str | None) -> str:
        kind, known = self.generator.__name__, "version" in parameters(self.generator)
        oldest, newest = ("v3", "v3") if self.matches_flows else ("v1", "v2")
        if asked is None:
            return newest if known else oldest
        if self.matches_flows != (asked in ("v3", "v4")):
            raise UsageError(
                tr(
                    "{generator} of {checkout} is not trained as {version} is",
                    generator=kind,
                    checkout=self.request["checkout"],
                    version=asked,
                )
            )
        if asked != oldest and not known:
            raise UsageError(
                tr(
                    "{generator} of {checkout} knows only {known}; it is older than {version}",
                    generator=kind,
                    checkout=self.request["checkout"],
                    known=oldest,
                    version=asked,
                )
            )
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
                raise UsageError(
                    tr(
                        "{generator}.forward has another signature than GPT-SoVITS's: it takes {parameter}",
                        generator=kind,
                        parameter=name,
                    )
                )
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
            raise UsageError(
                tr(
                    "{generator} has another signature than GPT-SoVITS's: {reason}",
                    generator=kind,
                    reason=in_one_line(error),
                )
            ) from error
        if self.discriminator is None:
            return net_g, None
        own = self._own_version(self.discriminator)
        try:
            return net_g, self.discriminator(request["use_spectral_norm"], **own)
        except TypeError as error:
            raise UsageError(
                tr(
                    "{network} has another signature: {reason}",
                    network="MultiPeriodDiscriminator",
                    reason=in_one_line(error),
                )
            ) from error

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
                    raise UsageError(
                        tr(
                            "the pretrained weights do not fit this tree: {reason}",
                            reason=in_one_line(error)[:300],
                        )
                    ) from None
        if not self.request["pretrained_g"]:
            if not self.fresh:
                fresh_vq_encoder(nets[0], features)
                self.fresh = {name: nets[0].state_dict()[name].clone() for name in self.found["encoder"]}
            nets[0].load_state_dict(self.fresh, strict=False)
        return nets


def import_models(checkout: str) -> Any:
    """Import GPT_SoVITS/module/models.py as the tree's own scripts do."""
    sys.path[:0] = [os.path.join(checkout, "GPT_SoVITS"), checkout]
    try:
        return importlib.import_module("module.models")
    except ModuleNotFoundError as error:
        missing = missing_modules(error)
        own = [name for name in missing if _is_of_tree(name, checkout)]
        if own:
            raise UsageError(
                tr(
                    "lacks modules of its own: {modules}; take another commit, or copy it again",
                    modules=listed(own, last=""),
                ),
                checkout,
            ) from None
        packages = list(dict.fromkeys(name.split(".")[0] for name in missing)) or ["?"]
        raise UsageError(
            tr(
                "{python} lacks packages that this tree imports: {packages}",
                python=sys.executable,
                packages=listed(packages, last=""),
            )
        ) from None
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        raise UsageError(
            tr("this Python {version} cannot read it: {reason}", version=sys.version.split()[0], reason=error.msg),
            where,
        ) from None
    except BaseException as error:
        raise UsageError(
            tr("{module} cannot be imported: {reason}", module="module.models", reason=in_one_line(error))
        ) from error


def missing_modules(error: ModuleNotFoundError) -> list[str]:
    """Return the names of all modules that the tree lacks: each gets an empty stand-in until no other is missing."""
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
    return missing


def _is_of_tree(name: str, checkout: str) -> bool:
    """Tell whether a module is the tree's own: no package that can be installed, whatever one of its name holds."""
    top = name.split(".", maxsplit=1)[0]
    places = [os.path.join(folder, top) for folder in (os.path.join(checkout, "GPT_SoVITS"), checkout)]
    return top in _OWN_MODULES or any(os.path.isdir(place) or os.path.isfile(f"{place}.py") for place in places)


def seed_all(seed: int) -> None:
    """Let every generator that a tree may draw from begin anew."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def join_ranks(ranks: dict[str, Any] | None, device: str) -> None:
    """Give the tree's quantizer the rank that it asks for: alone without any port, else among the other children."""
    if not distributed.is_available() or distributed.is_initialized():
        return
    if ranks is None:
        distributed.init_process_group("gloo", store=vars(distributed)["HashStore"](), rank=0, world_size=1)
        return
    # torchrun's own store is that of the parents, and torch would wait there
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", **ranks)


def parameters(called: Any) -> Any:
    """Return the parameters of a class or function by name."""
    return inspect.signature(called).parameters
