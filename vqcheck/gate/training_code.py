"""The gate's replay of the code that will really train."""

from typing import Final

from vqcheck.errors import UsageError
from vqcheck.experiment.s2_run import S2Run
from vqcheck.gate.outcome import COULD_NOT_CHECK, FAILED, PASSED, Finding

_STEPS: Final = 3
"""Steps of each arm where the config does not say: the moving average writes at each of them."""


def replay_training_code(run: S2Run) -> Finding:
    """Whether the code that the config names leaves the codebook as it is, bit by bit.

    Raises:
        UsageError: the code cannot be replayed, or torch or pydantic is not installed.

    """
    try:
        from vqcheck.experiment.read_config import read_config
        from vqcheck.replay.run import replay
        from vqcheck.replay.trace import AS_IS, DRIFTED, INCOMPLETE, INCONCLUSIVE
    except ImportError as error:
        raise UsageError(f"a replay needs {error.name}: pip install 'vqcheck[replay]'") from None
    config = read_config(run.config, run.root)
    if "steps" not in config.replay.model_fields_set:
        config = config.changed("replay", steps=_STEPS)
    result = replay(config)
    code = result.setting.code
    arm = next(arm for arm in result.arms if arm.strategy == AS_IS)
    if arm.verdict == DRIFTED:
        where = next((write.called_from or write for write in arm.first_writes if write.file), None)
        line = f" at {where.file}:{where.line}" if where else ""
        return Finding(FAILED, f"{code} writes the codebook while it trains{line}")
    if result.verdict == INCOMPLETE:
        return Finding(COULD_NOT_CHECK, f"the replay of {code} is incomplete: {result.failure or 'interrupted'}")
    if result.verdict == INCONCLUSIVE:
        return Finding(COULD_NOT_CHECK, f"the replay of {code} is inconclusive: nothing wrote the codebook in any arm")
    return Finding(PASSED, f"{code} leaves the codebook bit-identical over {arm.steps_run} steps")
