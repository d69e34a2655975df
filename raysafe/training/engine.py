"""The engine: parameters, gradients and optimiser behind one small seam. The only file that imports deepspeed.

A loss handed to `backward` is the micro-batch's *share of the step's mean* (see `objectives/reduce.py`): the engine adds
up the shares of all micro-batches and workers, clips the sum and steps. So the split does not matter.
"""

import gc
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from raysafe.config.sections import TrainingSettings
from raysafe.models.policy import Policy
from raysafe.training.export import plain_model, save_checkpoint, update

Load = Callable[[], Any]
"""A fresh Hugging Face (or peft) model on the CPU, the same at every call."""


class Engine(Protocol):
    """What the loops need of an engine. `module` is called for the forward pass, as a `Policy`; `policy` is that policy."""

    module: Any
    policy: Policy
    device: torch.device

    def backward(self, share: torch.Tensor) -> None:
        """Add the gradient of one micro-batch's share; the last of a step also steps."""

    def set_lr(self, lr: float) -> None:
        """Learning rate of the next step."""

    def finite(self) -> bool:
        """Whether all parameters that this process holds are finite."""

    def full_state(self) -> dict[str, torch.Tensor]:
        """All trainable parameters of the policy's model by name, whole, on the CPU; called by every rank."""

    def save_state(self, folder: Path, extra: dict[str, Any]) -> None:
        """Everything that a resumed run needs, with `extra`; called by every rank."""

    def load_state(self, folder: Path) -> dict[str, Any]:
        """Restore `save_state`; returns its `extra`."""

    def inference(self) -> AbstractContextManager[Any]:
        """The trained model to generate with, as a loaded export would be; called by every rank, which may go on alone in it."""

    def export(self, folder: Path, tokenizer: Any) -> None:
        """Model or adapter and tokenizer as a Hugging Face folder; called by every rank, written by the first."""

    def close(self) -> None:
        """Let go of every tensor and communication buffer. Nothing but `close` may be called afterwards."""


Engines = Callable[[Load, TrainingSettings, torch.device], Engine]
"""How models are trained here: `PlainEngine` or `DeepSpeedEngine`."""


@contextmanager
def open_engine(engines: Engines, load: Load, settings: TrainingSettings, device: torch.device) -> Iterator[Engine]:
    """A fresh engine around what `load` gives, closed however the block ends."""
    engine = engines(load, settings, device)
    try:
        yield engine
    except BaseException as error:
        forget_frames(error)
        raise
    finally:
        engine.close()


def forget_frames(error: BaseException | None) -> None:
    """Empty the frames that an error has left, and those of the errors behind it: their variables hold a step's tensors."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class PlainEngine:
    """One process, AdamW and float32 by hand: the in-memory twin that tests compare DeepSpeed against."""

    def __init__(self, load: Load, settings: TrainingSettings, device: str | torch.device = "cpu") -> None:
        model = load()
        self.policy = self.module = Policy(model, settings.batching, settings.gradient_checkpointing).to(device).train()
        self.device = torch.device(device)
        self.settings = settings
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )
        self._micro = 0

    def backward(self, share: torch.Tensor) -> None:
        share.backward()
        self._micro += 1
        if self._micro % self.settings.accumulation:
            return
        if self.settings.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def finite(self) -> bool:
        return all_finite(self.parameters)

    def full_state(self) -> dict[str, torch.Tensor]:
        named = self.policy.model.named_parameters()
        return {name: p.detach().cpu().clone() for name, p in named if p.requires_grad}

    def save_state(self, folder: Path, extra: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {"model": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "extra": extra}
        torch.save(state, folder / "state.pt")

    def load_state(self, folder: Path) -> dict[str, Any]:
        state = torch.load(folder / "state.pt", weights_only=True)
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state["extra"]

    def inference(self) -> AbstractContextManager[Any]:
        return self.policy.generating()

    def export(self, folder: Path, tokenizer: Any) -> None:
        with self.inference() as model:
            save_checkpoint(model, tokenizer, folder)

    def close(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        del self.policy, self.module, self.optimizer, self.parameters


class DeepSpeedEngine:
    """DeepSpeed, ZeRO 0 to 3, on gloo or nccl; needs an initialised process group."""

    def __init__(self, load: Load, settings: TrainingSettings, device: torch.device) -> None:
        deepspeed = _deepspeed()
        self.device = device
        self.settings = settings
        self._load = load
        self._copy: Any = None
        model = load()
        trainable = [p for p in model.parameters() if p.requires_grad]
        self.policy = Policy(model, settings.batching, settings.gradient_checkpointing).train()
        try:
            self._engine, *_ = deepspeed.initialize(
                model=self.policy, model_parameters=trainable, config=deepspeed_config(settings), dist_init_required=False
            )
        except BaseException:
            _forget_modules(self.policy)
            raise
        if settings.precision == "bf16" and settings.zero_stage == 0:
            # DeepSpeed 0.19 tries this optimiser out on zero gradients; Adam counts that step, and the next is a quarter short
            self._engine.optimizer.optimizer.state.clear()
        self.module = self._engine

    def backward(self, share: torch.Tensor) -> None:
        # DeepSpeed divides by accumulation and averages over workers; shares add up instead
        self._engine.backward(share * (self.settings.accumulation * dist.get_world_size()))
        self._engine.step()

    def set_lr(self, lr: float) -> None:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr

    def finite(self) -> bool:
        return all_finite(getattr(p, "ds_tensor", p) for p in self.policy.model.parameters() if p.requires_grad)

    def full_state(self) -> dict[str, torch.Tensor]:
        state = {}
        for name, parameter in self.policy.model.named_parameters():
            if parameter.requires_grad:
                with self._gathered(parameter):
                    state[name] = parameter.detach().float().cpu().clone()
        return state

    @contextmanager
    def _gathered(self, parameter: torch.nn.Parameter) -> Iterator[None]:
        if self.settings.zero_stage < 3:
            yield
            return
        with _deepspeed().zero.GatheredParameters([parameter]):
            yield

    def save_state(self, folder: Path, extra: dict[str, Any]) -> None:
        self._engine.save_checkpoint(str(folder), tag="state", client_state={"raysafe": extra})

    def load_state(self, folder: Path) -> dict[str, Any]:
        _, client_state = self._engine.load_checkpoint(str(folder), tag="state")
        return client_state["raysafe"]

    @contextmanager
    def inference(self) -> Iterator[Any]:
        if self.settings.zero_stage < 3 and self.settings.precision == "float32":
            with self.policy.generating() as model:
                yield model
        else:  # ranks that end at different lengths would wait for each other for ever at stage 3
            yield self._refreshed()

    def export(self, folder: Path, tokenizer: Any) -> None:
        with self.inference() as model:
            if dist.get_rank() == 0:
                save_checkpoint(model, tokenizer, folder)

    def _refreshed(self) -> Any:
        """A plain float32 copy of the trained model, kept for the next time."""
        state = self.full_state()
        if self._copy is None:
            self._copy = plain_model(self._load, state).to(self.device)
        else:
            update(self._copy, state)
        return self._copy

    def close(self) -> None:
        self._engine.destroy()
        _forget_modules(self.policy)
        del self._engine, self.module, self.policy, self._copy
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _forget_modules(policy: Policy) -> None:
    """DeepSpeed 0.19 keeps the modules of every stage 3 engine for the process's life, and all their tensors with them: on a
    stack that it never takes them off, and as keys of a cached method."""
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    gone = set(policy.modules())
    parameter_offload.FWD_MODULE_STACK[:] = [m for m in parameter_offload.FWD_MODULE_STACK if m not in gone]
    for method in vars(PartitionedParameterCoordinator).values():
        for cell in getattr(method, "__closure__", None) or ():
            if hasattr(cell.cell_contents, "cache_clear"):
                cell.cell_contents.cache_clear()


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no element is infinite or NaN."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def deepspeed_config(settings: TrainingSettings) -> dict[str, Any]:
    """DeepSpeed's configuration of a run. Clipping is always set: left out, DeepSpeed 0.19 clips at 1.0."""
    adamw = {"lr": settings.lr, "betas": list(settings.betas), "weight_decay": settings.weight_decay}
    adamw |= {"torch_adam": True, "fused": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.clip,
        "optimizer": {"type": "AdamW", "params": adamw},
        "zero_optimization": {"stage": settings.zero_stage},
        "bf16": {"enabled": settings.precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }


def _deepspeed() -> Any:
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed
    import deepspeed.ops

    # it would be compiled at the first init on CPU (most of a minute), and a killed compilation leaves a lock behind
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
