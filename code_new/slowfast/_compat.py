"""Stand-ins for modules that SlowFast imports and that are gone, or that no package index carries.

An import hook at the end of `sys.meta_path`: Python asks it only for what nothing else could find,
so the real package wins wherever it is installed, and nothing heavy is imported before a stand-in
is asked for. A new one is a function here, which fills the empty module that it gets and whose
docstring says why it is needed, and one line in `STAND_INS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


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
    from torch import nn

    class ROIAlign(nn.Module):
        """Every model can import it; detection alone constructs it, and is told what to do."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            from actionrec.errors import UserError

            raise UserError(
                "DETECTION.ENABLE: detection needs ROIAlign, and torchvision does not give it here "
                f"({reason}); install the torchvision that belongs to your torch"
            )

    return ROIAlign


def _functional_tensor(module: ModuleType) -> None:
    """torchvision put an underscore before the name; pytorchvideo asks for it without."""
    from torchvision.transforms import _functional_tensor as renamed

    vars(module).update({k: v for k, v in vars(renamed).items() if not k.startswith("__")})


def _torch_six(module: ModuleType) -> None:
    """torch dropped its Python 2 helpers; SlowFast's multigrid sampler needs one name of them."""
    module.int_classes = int  # type: ignore[attr-defined]


STAND_INS: dict[str, Callable[[ModuleType], None]] = {
    "detectron2": _detectron2,
    "detectron2.layers": _detectron2_layers,
    "torchvision.transforms.functional_tensor": _functional_tensor,
    "torch._six": _torch_six,
}


class StandIns(MetaPathFinder, Loader):
    """Finds and fills the modules of `STAND_INS`."""

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
        fill = STAND_INS[module.__name__]
        module.__doc__ = fill.__doc__
        fill(module)


def is_stand_in(name: str) -> bool:
    """Whether `name` has been imported and is a stand-in."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and isinstance(spec.loader, StandIns)


def install() -> None:
    """Append the hook to `sys.meta_path`, once."""
    if not any(isinstance(finder, StandIns) for finder in sys.meta_path):
        sys.meta_path.append(StandIns())
