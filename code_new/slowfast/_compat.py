"""What SlowFast needs to run today: stand-ins for modules that are gone, repairs of others.

Import hooks, so nothing is imported before it is asked for, and spawned workers have them too.

`STAND_INS`: modules that no package index carries, or that were renamed. Their finder is the last
of `sys.meta_path`: Python asks it only for what nothing else could find, so the real one wins.
`WITHOUT`: files of SlowFast that cannot be imported without an optional package.
`REPAIRS`: modules that are there and break; each is a context in which the module is executed, and
steps aside where nothing is broken.

A new one is a function here, whose docstring says why it is needed, and one line in a table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any


def _needs(name: str, remedy: str) -> type:
    """A class of this name, which any module can import; what constructs it is told what to do."""

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        from actionrec.errors import UserError

        raise UserError(f"{name}: {remedy}")

    return type(name, (), {"__init__": refuse})


def _detectron2(module: ModuleType) -> None:
    """The package index has no detectron2, and SlowFast's heads import one layer of it."""
    module.__path__ = []  # a package: its modules are looked for by name, in no folder


def _detectron2_layers(module: ModuleType) -> None:
    """All heads import ROIAlign, detection alone builds it: torchvision's, where that one loads."""
    module.ROIAlign = _roi_align()  # type: ignore[attr-defined]


def _roi_align() -> type:
    try:
        from torchvision.ops import RoIAlign
    # RuntimeError: torchvision was built for another torch, and its operators do not load.
    except (ImportError, RuntimeError) as error:
        return _missing_roi_align(str(error).partition("\n")[0])

    class ROIAlign(RoIAlign):  # type: ignore[misc]
        """torchvision's, with detectron2's default: boxes aligned to pixel centres."""

        def __init__(
            self,
            output_size: int | tuple[int, int],
            spatial_scale: float,
            sampling_ratio: int,
            aligned: bool = True,
        ) -> None:
            super().__init__(output_size, spatial_scale, sampling_ratio, aligned)

    return ROIAlign


def _missing_roi_align(reason: str) -> type:
    return _needs(
        "ROIAlign",
        f"DETECTION.ENABLE needs torchvision, which does not load here ({reason}); install the "
        "torchvision that belongs to your torch",
    )


def _functional_tensor(module: ModuleType) -> None:
    """torchvision put an underscore before the name; pytorchvideo asks for it without."""
    from torchvision.transforms import _functional_tensor as renamed

    vars(module).update({k: v for k, v in vars(renamed).items() if not k.startswith("__")})


def _detectron2_drawing(module: ModuleType) -> None:
    """SlowFast's demo imports detectron2's person detector and drawing, whatever it is to show."""
    remedy = "SlowFast's demo of detection needs detectron2; install it from its own site"
    for name in ("get_cfg", "DefaultPredictor", "Visualizer"):
        vars(module)[name] = _needs(name, remedy)


def _torch_six(module: ModuleType) -> None:
    """torch dropped its Python 2 helpers; SlowFast's multigrid sampler needs one name of them."""
    module.int_classes = int  # type: ignore[attr-defined]


def _ptv_datasets(module: ModuleType) -> None:
    """SlowFast imports its classes around PyTorchVideo's data sets with all its own."""
    from slowfast.datasets.build import DATASET_REGISTRY

    _ptv_classes(module, DATASET_REGISTRY, "Ptvcharades Ptvkinetics Ptvssv2")


def _ptv_models(module: ModuleType) -> None:
    """SlowFast imports its classes around PyTorchVideo's models with all its own."""
    from slowfast.models.build import MODEL_REGISTRY

    _ptv_classes(module, MODEL_REGISTRY, "PTVCSN PTVX3D PTVR2plus1D PTVResNet PTVSlowFast")


def _ptv_classes(module: ModuleType, registry: Any, names: str) -> None:
    for name in names.split():
        vars(module)[name] = _needs(name, "needs it: python -m pip install pytorchvideo")
        registry.register(vars(module)[name])


@contextmanager
def _torchvision(module: ModuleType) -> Iterator[None]:
    """Built for CUDA beside a torch without, it cannot load its operators and stops at their names.

    All that SlowFast uses of it works without them, once the names are there; but a model with
    ROIAlign cannot be traced then.
    """
    import torch

    for library in Path(str(module.__file__)).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(library)
        except OSError:
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            for name in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, name):  # a failed import may be tried again
                    torch.library.define(f"torchvision::{name}", schema)
    yield


@contextmanager
def _defaults(module: ModuleType) -> Iterator[None]:
    """The checks of the configuration divide by NUM_GPUS, where 0 is how SlowFast says CPU."""
    yield
    check = getattr(module, "assert_and_infer_cfg", None)
    if check is None:
        return  # the package has it under another name, and nothing calls it with 0

    def assert_and_infer_cfg(cfg: Any) -> Any:
        gpus, cfg.NUM_GPUS = cfg.NUM_GPUS, max(cfg.NUM_GPUS, 1)
        try:
            return check(cfg)
        finally:
            cfg.NUM_GPUS = gpus

    vars(module)["assert_and_infer_cfg"] = assert_and_infer_cfg


@contextmanager
def _tensorboard(module: ModuleType) -> Iterator[None]:
    """With several labels a clip there is no top-1 error: SlowFast logs None, which is refused."""
    yield
    writer = vars(module)["TensorboardWriter"]
    write = writer.add_scalars

    def add_scalars(self: object, data_dict: dict[str, Any], global_step: Any = None) -> None:
        known = {name: value for name, value in data_dict.items() if value is not None}
        write(self, known, global_step)

    writer.add_scalars = add_scalars


@contextmanager
def _epochs(module: ModuleType) -> Iterator[None]:
    """SlowFast's loop never tells a loss its epoch, which deferred reweighting needs.

    Each step asks for the learning rate of the epoch, with its fraction, and then for the loss.
    """
    yield
    get_epoch_lr = vars(module)["get_epoch_lr"]

    def telling(cur_epoch: float, cfg: Any) -> Any:
        from losses.run import set_run_epoch

        set_run_epoch(int(cur_epoch))
        return get_epoch_lr(cur_epoch, cfg)

    vars(module)["get_epoch_lr"] = telling


Fill = Callable[[ModuleType], None]

STAND_INS: dict[str, Fill] = {
    "detectron2": _detectron2,
    "detectron2.layers": _detectron2_layers,
    "detectron2.config": _detectron2_drawing,
    "detectron2.engine": _detectron2_drawing,
    "detectron2.model_zoo": _detectron2_drawing,
    "detectron2.utils": _detectron2,
    "detectron2.utils.visualizer": _detectron2_drawing,
    "torchvision.transforms.functional_tensor": _functional_tensor,
    "torch._six": _torch_six,
}
WITHOUT: dict[str, tuple[str, Fill]] = {
    "slowfast.datasets.ptv_datasets": ("pytorchvideo", _ptv_datasets),
    "slowfast.models.ptv_model_builder": ("pytorchvideo", _ptv_models),
}
REPAIRS: dict[str, Callable[[ModuleType], AbstractContextManager[None]]] = {
    "torchvision": _torchvision,
    "slowfast.config.defaults": _defaults,
    "slowfast.visualization.tensorboard_vis": _tensorboard,
    "slowfast.models.optimizer": _epochs,
}


class StandIns(MetaPathFinder, Loader):
    """Finds and fills the modules of `STAND_INS`; the last finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in STAND_INS:
            return None
        top = fullname.partition(".")[0]
        if top in STAND_INS and top != fullname and not is_stand_in(top):
            return None  # the real package is installed: what it lacks is not ours to invent
        return ModuleSpec(fullname, self, origin="stand-in")

    def create_module(self, spec: ModuleSpec) -> None:
        """None: an ordinary empty module."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        fill = STAND_INS[name] if name in STAND_INS else WITHOUT[name][1]
        module.__doc__ = fill.__doc__
        fill(module)


class Repairs(MetaPathFinder):
    """Finds the modules of `WITHOUT` and `REPAIRS`, which are there; the first finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in WITHOUT and find_spec(WITHOUT[fullname][0]) is None:
            return ModuleSpec(fullname, StandIns(), origin="stand-in")
        if fullname not in REPAIRS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with REPAIRS[fullname](module):
                execute(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def is_stand_in(name: str) -> bool:
    """Whether `name` has been imported and is a stand-in."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and isinstance(spec.loader, StandIns)


def install() -> None:
    """Put the hooks into `sys.meta_path`, once."""
    if not any(isinstance(finder, StandIns) for finder in sys.meta_path):
        sys.meta_path.append(StandIns())
        sys.meta_path.insert(0, Repairs())
