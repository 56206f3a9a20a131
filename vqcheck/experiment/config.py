"""The configuration of a replay: every key with its meaning, range and default, checked by pydantic.

A vqcheck TOML file has one table for each section below. GPT-SoVITS's s2 JSON is translated into the same sections (see
`config_file`). The defaults of `TrainingConfig` are upstream's.
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Version = Literal["tiny", "tiny-v3", "v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4"]
TINY_VERSIONS: Final = ("tiny", "tiny-v3")
"""Sizes of ours; of a checkout they mean the newest version of that kind that it knows."""
FLOW_VERSIONS: Final = ("tiny-v3", "v3", "v4")
"""Those that learn a flow: no discriminator, and LoRA if it is wanted."""
Verdict = Literal["drifted", "frozen"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SubjectConfig(_Section):
    """What is trained."""

    version: Version = Field(
        default="tiny",
        description="tiny or tiny-v3 (seconds on a CPU, generated data only) or a full-size version",
    )
    pretrained_s2G: str | None = Field(  # noqa: N815 - upstream's spelling
        default=None, description="generator to start from; without it fresh weights and a codebook made by k-means"
    )
    pretrained_s2D: str | None = Field(  # noqa: N815
        default=None, description="discriminator to start from; without it fresh weights"
    )
    factory: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        description="package.module:function; what it returns is trained, whatever it is",
    )
    checkout: str | None = Field(
        default=None, description="folder of a GPT-SoVITS checkout; its own networks are trained, in a child process"
    )
    python: str | None = Field(
        default=None, description="Python that has the checkout's packages; default: the one that runs vqcheck"
    )
    generator: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*$",
        description="class in the checkout's module.models; default: SynthesizerTrn, for v3 and v4 SynthesizerTrnV3",
    )
    freeze_quantizer: bool = Field(default=True, description="what a checkout's own class gets; the gate wants it set")
    time_limit: float = Field(
        default=600.0, gt=0, description="seconds that a checkout may take to load, or for one step"
    )
    dead_code_expiry: Literal["after-ema", "before-ema"] = Field(
        default="after-ema", description="when dead codes are replaced: upstream since November 2025, or until then"
    )


class DataConfig(_Section):
    """What it is trained on."""

    exp_dir: str | None = Field(
        default=None, description="experiment directory, logs/<name>; without it data are generated"
    )
    symbols: str | None = Field(
        default=None,
        description="the version's text symbols, one a line in order; without it ids are given in sorted order",
    )
    generated_items: int = Field(default=48, ge=2, le=10_000, description="number of generated items")


class TrainingConfig(_Section):
    """The numbers of the training step."""

    batch_size: int = Field(default=4, ge=1, description="items in a batch of one process")
    learning_rate: float = Field(default=1e-4, gt=0, description="of both optimizers")
    betas: list[float] = Field(default=[0.8, 0.99], min_length=2, max_length=2, description="of AdamW")
    eps: float = Field(default=1e-9, gt=0, description="of AdamW")
    lr_decay: float = Field(default=0.999875, gt=0, le=1, description="factor of the learning rate after each epoch")
    text_low_lr_rate: float = Field(default=0.4, gt=0, description="factor for the learning rate of the text encoder")
    c_mel: float = Field(default=45.0, ge=0, description="weight of the mel loss")
    c_kl: float = Field(default=1.0, ge=0, description="weight of the KL loss")
    segment_size: int | None = Field(
        default=None, gt=0, description="samples the decoder is trained on; default: the version's"
    )
    grad_ckpt: bool = Field(
        default=False, description="v3 and v4: compute each block again in the backward pass, which saves memory"
    )
    lora_rank: int | None = Field(
        default=None, ge=1, description="v3 and v4: train LoRA adapters of this rank; without it all of the decoder"
    )
    fp16_run: bool = Field(default=True, description="autocast to float16 on CUDA (nothing on a CPU, as upstream)")


class ModelConfig(_Section):
    """Sizes of the generator that differ from the version's own, under upstream's names as far as it has one."""

    inter_channels: int | None = None
    hidden_channels: int | None = None
    filter_channels: int | None = None
    n_heads: int | None = None
    n_layers: int | None = None
    kernel_size: int | None = None
    p_dropout: float | None = None
    resblock: str | None = None
    resblock_kernel_sizes: list[int] | None = None
    resblock_dilation_sizes: list[list[int]] | None = None
    upsample_rates: list[int] | None = None
    upsample_initial_channel: int | None = None
    upsample_kernel_sizes: list[int] | None = None
    gin_channels: int | None = None
    semantic_frame_rate: Literal["25hz", "50hz"] | None = None
    codebook_size: int | None = None
    posterior_layers: int | None = None
    flow_layers: int | None = None
    n_flows: int | None = None
    reference_hidden: int | None = None
    mrte_hidden: int | None = None
    mrte_heads: int | None = None
    dit_dim: int | None = None
    dit_depth: int | None = None
    dit_heads: int | None = None
    dit_ff_mult: int | None = None
    dit_conv_layers: int | None = None


class DiscriminatorConfig(_Section):
    """Sizes of the discriminator that differ from the version's own."""

    use_spectral_norm: bool | None = None
    narrowing: int | None = Field(default=None, ge=1, description="divides its channels, for a quick look")
    periods: list[int] | None = None


class SpectrogramConfig(_Section):
    """Sizes in samples and frequencies in Hz that differ from the version's own."""

    sampling_rate: int | None = None
    filter_length: int | None = None
    hop_length: int | None = None
    win_length: int | None = None
    n_mel_channels: int | None = None
    mel_fmin: float | None = None
    mel_fmax: float | None = None


class ReplayConfig(_Section):
    """How it is replayed."""

    steps: int = Field(default=30, ge=1, description="training steps of each arm")
    strategies: list[str] = Field(
        default=["requires-grad", "eval-in-forward", "maybe-no-grad"], min_length=1, description="arms, in this order"
    )
    seed: int = Field(default=1234, ge=0, lt=2**63, description="of weights, data and every random draw")
    device: str = Field(default="auto", description="auto (CUDA where there is one), cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "fp16"] = Field(default="auto", description="auto follows training.fp16_run")


class Config(_Section):
    """A whole configuration; each section may be left out."""

    subject: SubjectConfig = SubjectConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    model: ModelConfig = ModelConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    spectrogram: SpectrogramConfig = SpectrogramConfig()
    replay: ReplayConfig = ReplayConfig()
    expected: dict[str, Verdict] = Field(
        default={}, description="what a strategy must do, where it is not what its name says"
    )

    def changed(self, section: str, **values: Any) -> "Config":
        """Return a copy with some keys of a section replaced; None leaves a key as it is. Values are not checked."""
        given = {key: value for key, value in values.items() if value is not None}
        return self.model_copy(update={section: getattr(self, section).model_copy(update=given)})
