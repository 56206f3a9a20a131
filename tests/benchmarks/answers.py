"""What vqcheck, the script everybody writes and the public tools say of pairs of files of which the truth is known.

Each tool is run as its documentation says, on the formats it supports, and asked about the VQ encoder alone where it
can be: sft takes one pattern a run, so it is run twice, and of weightscope's table, whose status is always 0, the rows
of the VQ encoder count. sft says `close` beside `equal`; only `equal` counts as same.
"""

import json
import shutil

from checkpoints import CODEBOOK, book, generator, projection, running_sums, save, updated
from processes import Launcher, Outcome, program, python, vqcheck
from results import CHANGED, NO_ANSWER, SAME, Answer
from run import Run, isolated

SCRIPT = """
import sys, torch
files = [torch.load(path, map_location="cpu", weights_only=False) for path in sys.argv[1:]]
a, b = (file.get("model", file.get("weight", file)) for file in files)
names = [name for name in a if name.startswith(("quantizer.", "ssl_proj."))]
print(all(torch.equal(a[name], b[name]) for name in names))
"""

CASES = {
    "trained-on": ("the model was trained on, its VQ encoder is the same", SAME),
    "widened": ("a float16 base and the float32 training file made from it", SAME),
    "export": ("a float32 training file and its float16 export, whose header GPT-SoVITS overwrote", SAME),
    "wrapped": ("the same tensors behind `module.`, as DDP names them", SAME),
    "updated": ("37 EMA updates", CHANGED),
    "one-bit": ("one bit of one code", CHANGED),
    "bookkeeping": ("the running sums alone: updates ran, no token differs yet", CHANGED),
    "residual": ("a residual codec's projection behind the first layer, which decides later tokens", CHANGED),
    "prefix": ("the projection of GPT-SoVITS behind a prefix of somebody's own", CHANGED),
    "second-copy": ("the moving average beside the weights, of two files whose weights are the same", CHANGED),
    "within-a-step": ("a float32 training file, each value moved by half a step of its float16 base", CHANGED),
    "lost": ("a float16 export in which codes in use became zero", CHANGED),
    "bfloat16": ("a float32 training file and its bfloat16 export", SAME),
    "two-exports": ("a float16 and a bfloat16 export of one file", SAME),
    "float64": ("a float32 file and its float64 copy", SAME),
    "lora": ("a base and a LoRA export, which leaves the projection to it", SAME),
    "truncated": ("the second file is cut off", NO_ANSWER),
    "no-codebook": ("neither file holds a codebook", NO_ANSWER),
}


def make(folder):
    """Write both files of every case, each as a torch checkpoint and as safetensors."""
    import torch

    random = generator(1)
    count, total = running_sums(random, 64, 32)
    layers = projection(random, 32)
    state = {name: value.half().float() for name, value in (layers | book(count, total)).items()}
    rest = [{"dec.conv_pre.weight": torch.randn(64, 32, 7, generator=random)} for _ in range(2)]
    base, further = rest[0] | state, rest[1] | state
    # In full precision: where all values are float16 ones, a last bit more is the form that rounds to them.
    full = rest[0] | layers | book(count, total)
    one_bit = full | {f"{CODEBOOK}.embed": full[f"{CODEBOOK}.embed"].clone()}
    one_bit[f"{CODEBOOK}.embed"].view(torch.int32)[5, 3] ^= 1
    moved = updated(count, total, random)
    sums = {f"{CODEBOOK}.cluster_size": moved[0], f"{CODEBOOK}.embed_avg": moved[1]}
    halved = {name: value.half() for name, value in base.items()}
    exported = {"wrap": lambda state: {"weight": state, "config": {"model": {"version": "v2"}}, "info": "8epoch"}}
    export = {"wrap": lambda state: {"weight": state, "config": {}, "info": "8epoch_400iteration"}}
    within = {name: _up_half_a_step(value) for name, value in halved.items()}
    lost = full | {f"{CODEBOOK}.embed": full[f"{CODEBOOK}.embed"].clone()}
    lost[f"{CODEBOOK}.embed"][3:9] *= 1e-9
    dac = residual_codec(random)
    moved_behind = dac | {"quantizer.quantizers.0.out_proj.weight": 1.2 * dac["quantizer.quantizers.0.out_proj.weight"]}
    own = {f"student.{name}": value for name, value in full.items()}
    other = own | {"student.ssl_proj.weight": 1.2 * own["student.ssl_proj.weight"]}
    averages = [{f"ema.{name}": value.clone() for name, value in part.items()} for part in (full, full | book(*moved))]
    adapters = {"cfm.to_q.lora_A.default.weight": torch.randn(4, 4, generator=random)}
    lora = adapters | {name: value for name, value in halved.items() if not name.startswith("ssl_proj")}
    text = {"model.text_embedding.word_embeddings.weight": torch.randn(16, 8, generator=random)}
    pairs = {
        "trained-on": (base, further),
        "widened": (halved, further),
        "export": (base, halved),
        "wrapped": (base, {f"module.{name}": value for name, value in further.items()}),
        "updated": (full, rest[1] | layers | book(*moved)),
        "one-bit": (full, one_bit),
        "bookkeeping": (base, further | sums),
        "residual": (dac, moved_behind),
        "prefix": (own, other),
        "second-copy": (full | averages[0], full | averages[1]),
        "within-a-step": (halved, within),
        "lost": (lost, {name: value.half() for name, value in lost.items()}),
        "bfloat16": (full, {name: value.bfloat16() for name, value in full.items()}),
        "two-exports": tuple({name: value.to(t) for name, value in full.items()} for t in (torch.half, torch.bfloat16)),
        "float64": (full, {name: value.double() for name, value in full.items()}),
        "lora": (halved, lora),
        "truncated": (base, further),
        "no-codebook": (text, text),
    }
    bare = {"wrap": lambda state: {"weight": state, "config": {}}}
    how = {
        "widened": (exported, {}),
        "export": ({}, exported),
        "second-copy": ({"wrap": _with_average}, {"wrap": _with_average}),
        "within-a-step": (bare, {"metadata": {"step": "400"}}),
        "lost": ({}, export),
        "bfloat16": ({}, export),
        "two-exports": (export, export),
        "lora": (bare, export),
    }
    for case, (a, b) in pairs.items():
        how_a, how_b = how.get(case, ({}, {}))
        save(a, folder / f"{case}-a", **how_a)
        save(b, folder / f"{case}-b", **how_b)
    with open(folder / "export-b.pth", "r+b") as file:
        file.write(b"05")
    for ending in ("pth", "safetensors"):
        with open(folder / f"truncated-b.{ending}", "r+b") as file:
            file.truncate(file.seek(0, 2) * 2 // 3)


def residual_codec(random):
    """Return three layers of DAC: what the first ones' projections give is taken off before the next lookup."""
    import torch

    shapes = {
        "codebook.weight": (64, 8),
        "in_proj.weight": (8, 32, 1),
        "in_proj.bias": (8,),
        "out_proj.weight": (32, 8, 1),
        "out_proj.bias": (32,),
    }
    return {
        f"quantizer.quantizers.{layer}.{name}": torch.randn(shape, generator=random)
        for layer in range(3)
        for name, shape in shapes.items()
    }


def _up_half_a_step(half):
    """Return float32 values half way up to the next float16 one, which all round to the given ones."""
    import torch

    up = torch.nextafter(half, torch.full_like(half, 6e4)).float()
    return half.float() + 0.49 * (up - half.float())


def _with_average(state):
    """Return a checkpoint that keeps the moving average of its weights in a container of its own."""
    average = {name.removeprefix("ema."): value for name, value in state.items() if name.startswith("ema.")}
    return {"model": {name: value for name, value in state.items() if not name.startswith("ema.")}, "ema": average}


def measure(run: Run):
    folder = run.folder / "cases"
    folder.mkdir()
    isolated(make, folder)
    found = []
    with Launcher() as launched:
        for case, (title, expected) in CASES.items():
            for tool, ask in TOOLS.items():
                run.stage(f"{tool}: {title}")
                said, note = ask(launched, folder / f"{case}-a", folder / f"{case}-b")
                found.append(Answer(title, tool, expected, said, note))
    return found


def ask_vqcheck(ending):
    def ask(launched, a, b):
        found = launched.run(vqcheck("diff", f"{a}.{ending}", f"{b}.{ending}"))
        return {0: SAME, 1: CHANGED}.get(found.status, NO_ANSWER), last_line(found)

    return ask


def ask_script(launched, a, b):
    found = launched.run(python(SCRIPT, f"{a}.pth", f"{b}.pth"))
    return {"True": SAME, "False": CHANGED}.get(found.stdout.strip(), NO_ANSWER), last_line(found)


def ask_ckptkit(ending):
    def ask(launched, a, b):
        found = launched.run([*program("ckptkit"), "diff", f"{a}.{ending}", f"{b}.{ending}"])
        if found.status:
            return NO_ANSWER, last_line(found)
        return (SAME if "structurally identical" in found.stdout else CHANGED), counts_of(found)

    return ask


def ask_sft(launched, a, b):
    said = set()
    compared = 0
    for pattern in ("quantizer.**", "ssl_proj.*"):
        command = ["diff", f"{a}.safetensors", f"{b}.safetensors", "--delta", "--include", pattern, "--json"]
        found = launched.run([*program("sft"), *command])
        if found.status:
            return NO_ANSWER, last_line(found)
        document = json.loads(found.stdout)
        values = document.get("value_diffs") or {}
        compared += len(values)
        said |= {value["status"] for value in values.values()}
        said |= {part for part in ("added", "removed", "shape_changed", "dtype_changed") if document[part]}
    return (
        SAME if said <= {"equal"} else CHANGED
    ), f"{', '.join(sorted(said)) or 'no difference'}; {compared} compared"


def ask_weightscope(launched, a, b):
    folders = []
    for path in (a, b):
        folder = path.with_name(f"{path.name}-folder")
        folder.mkdir(exist_ok=True)
        shutil.copy(f"{path}.safetensors", folder / "model.safetensors")
        folders.append(str(folder))
    report = a.with_name(f"{a.name}-report.md")
    found = launched.run([*program("weightscope"), "diff", "--threshold", "0", *folders, "-o", str(report)])
    if found.status:
        return NO_ANSWER, last_line(found)
    # | `name` | shape | values | changed | share | most |
    rows = [line.strip("| ").split(" | ") for line in report.read_text().splitlines() if line.startswith("| `")]
    compared = {row[0].strip("`"): row[3] for row in rows if len(row) == 6 and _is_of_the_encoder(row[0])}
    moved = sum(int(count.replace(",", "")) for count in compared.values())
    if not compared:
        return NO_ANSWER, "no tensor of the VQ encoder compared"
    return (CHANGED if moved else SAME), f"{moved} values changed in {len(compared)} tensors"


def _is_of_the_encoder(cell):
    return any(part in cell for part in ("quantizer.", "ssl_proj."))


def last_line(found: Outcome) -> str:
    """Return the end of what a tool said, for the file of figures."""
    lines = [line.strip() for line in (found.stderr.strip() or found.stdout.strip()).splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def counts_of(found: Outcome) -> str:
    return next((line.strip() for line in found.stdout.splitlines() if line.startswith("Shared")), "")


TOOLS = {
    "vqcheck .pth": ask_vqcheck("pth"),
    "vqcheck .safetensors": ask_vqcheck("safetensors"),
    "torch.equal .pth": ask_script,
}
if program("ckptkit"):
    TOOLS |= {"ckptkit .pth": ask_ckptkit("pth"), "ckptkit .safetensors": ask_ckptkit("safetensors")}
if program("weightscope"):
    TOOLS |= {"weightscope .safetensors": ask_weightscope}
if program("sft"):
    TOOLS |= {"sft .safetensors": ask_sft}
"""Each tool and how it is asked: (launcher, stems of the two files) -> (what it says, its own words)."""
