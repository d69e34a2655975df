"""The methods that are measured, and the settings that every way of computing them is given."""

from dataclasses import dataclass

from raysafe.config.sections import TrainingSettings
from raysafe.objectives import Objective
from raysafe.objectives.door import Door
from raysafe.objectives.dpo import Dpo
from raysafe.objectives.wdoor import WDoor
from raysafe.selection.seal import Seal

POLICY_SEED, PROXY_SEED, REFERENCE_SEED = 0, 1, 2
"""Three different random models, so that a wrong use of one shows in the loss."""
SETTINGS = TrainingSettings(batch_size=2, lr=1e-5, clip=1.0, weight_decay=0.0)
SEAL = Seal(gamma=0.1, batch_size=4, safe_batch_size=4, model_lr=1e-5)


@dataclass(frozen=True)
class Method:
    """An objective and the frozen models that the published code runs at each step; SEAL has no objective."""

    name: str
    title: str
    objective: Objective | None
    frozen: tuple[str, ...] = ()

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams whose tokens a step trains on."""
        return ("finetune", "trusted") if self.objective is None else ("safe", "harmful", "retain")

    @property
    def rows(self) -> int:
        """Rows of each stream in a step."""
        return SEAL.batch_size if self.objective is None else SETTINGS.batch_size


METHODS = {
    method.name: method
    for method in (
        Method("wdoor", "W-DOOR", WDoor(), ("reference", "proxy")),
        Method("door", "DOOR", Door(), ("reference",)),
        Method("dpo", "DPO", Dpo(), ("reference",)),
        Method("seal", "SEAL step", None),
    )
}
SEEDS = {"reference": REFERENCE_SEED, "proxy": PROXY_SEED}
