"""The stand-ins serve where the real package is absent, and step aside where it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def python(code: str, *path: Path, cwd: Path = REPO) -> str:
    """What `code` prints in a new interpreter whose import path starts with `path`."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=env, cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def overlay(code: str, *first: Path) -> str:
    """The same, with the overlay's own part of slowfast and with `first` before it."""
    return python("import slowfast\n" + code, *first, REPO / "code_new")


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def without_torchvision(tmp_path: Path) -> Path:
    """A folder where torchvision is not to be had, whatever is installed."""
    write(tmp_path / "torchvision.py", "raise ImportError('no torchvision here')")
    return tmp_path


def test_importing_the_package_imports_no_torch() -> None:
    assert overlay("import sys; print('torch' in sys.modules)") == "False"


def test_installing_twice_adds_one_hook_and_it_is_last() -> None:
    code = (
        "import sys; from slowfast import _compat; _compat.install()\n"
        "print([isinstance(f, _compat.StandIns) for f in sys.meta_path].count(True),\n"
        "      isinstance(sys.meta_path[-1], _compat.StandIns))"
    )
    assert overlay(code) == "1 True"


def test_every_stand_in_says_why() -> None:
    code = (
        "from slowfast._compat import REPAIRS, STAND_INS, WITHOUT\n"
        "without = [fill for _, fill in WITHOUT.values()]\n"
        "print(all(f.__doc__ for f in [*STAND_INS.values(), *without, *REPAIRS.values()]))"
    )
    assert overlay(code) == "True"


def test_slowfasts_own_files_are_read_where_pytorchvideo_is_there(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom slowfast._compat import WITHOUT\n"
        "print([sys.meta_path[0].find_spec(name, None) is None for name in WITHOUT])"
    )
    assert overlay(code) == "[False, False]"
    write(tmp_path / "pytorchvideo/__init__.py")
    assert overlay(code, tmp_path) == "[True, True]"


def test_operators_that_load_are_not_defined_again(tmp_path: Path) -> None:
    write(tmp_path / "torchvision/__init__.py")
    write(tmp_path / "torchvision/_C.so")
    code = (
        "import torch\nloads = []\ntorch.ops.load_library = loads.append\nimport torchvision\n"
        "print(len(loads), hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert overlay(code, tmp_path) == "1 False"
    code = "import torch, torchvision\nprint(hasattr(torch.ops.torchvision, 'nms'))"
    assert overlay(code, tmp_path) == "True"  # an empty file does not load


def test_the_checks_of_the_configuration_see_a_device_where_there_is_none(tmp_path: Path) -> None:
    write(tmp_path / "slowfast/__init__.py", (REPO / "code_new/slowfast/__init__.py").read_text())
    write(tmp_path / "slowfast/_compat.py", (REPO / "code_new/slowfast/_compat.py").read_text())
    write(tmp_path / "slowfast/config/__init__.py")
    write(
        tmp_path / "slowfast/config/defaults.py",
        "def assert_and_infer_cfg(cfg):\n    assert 8 % cfg.NUM_GPUS == 0\n    return cfg",
    )
    code = (
        "import slowfast\nfrom types import SimpleNamespace as Cfg\n"
        "from slowfast.config.defaults import assert_and_infer_cfg as check\n"
        "print([check(Cfg(NUM_GPUS=gpus)).NUM_GPUS for gpus in (0, 1, 4)])"
    )
    assert python(code, tmp_path) == "[0, 1, 4]"


def test_roi_align_can_be_imported_and_says_what_to_do_when_constructed(tmp_path: Path) -> None:
    code = (
        "from detectron2.layers import ROIAlign\n"
        "from slowfast._compat import is_stand_in\n"
        "from actionrec.errors import UserError\n"
        "print(is_stand_in('detectron2.layers'))\n"
        "try: ROIAlign([7, 7], spatial_scale=1 / 16, sampling_ratio=0, aligned=True)\n"
        "except UserError as error: print(error)"
    )
    lines = overlay(code, without_torchvision(tmp_path)).splitlines()
    assert lines[0] == "True"
    assert "no torchvision here" in lines[1] and "install the torchvision" in lines[1]
    assert len(lines) == 2


def test_roi_align_is_torchvisions_where_its_operators_load(tmp_path: Path) -> None:
    write(tmp_path / "torchvision/__init__.py")
    write(
        tmp_path / "torchvision/ops.py",
        "class RoIAlign:\n    def __init__(self, *args): print(args)",
    )
    code = "from detectron2.layers import ROIAlign; ROIAlign(7, 0.5, sampling_ratio=0)"
    assert overlay(code, tmp_path) == "(7, 0.5, 0, True)"


def test_roi_align_can_be_imported_beside_a_torchvision_of_another_torch(tmp_path: Path) -> None:
    write(tmp_path / "torchvision/__init__.py", "raise RuntimeError('operator nms does not exist')")
    assert overlay("from detectron2.layers import ROIAlign; print('fine')", tmp_path) == "fine"


def test_a_real_detectron2_wins(tmp_path: Path) -> None:
    write(tmp_path / "detectron2/__init__.py")
    write(tmp_path / "detectron2/layers.py", "ROIAlign = 'the real one'")
    code = "from detectron2.layers import ROIAlign; print(ROIAlign)"
    assert overlay(code, tmp_path) == "the real one"


def test_what_a_real_detectron2_lacks_is_not_invented(tmp_path: Path) -> None:
    write(tmp_path / "detectron2/__init__.py")
    code = "try: import detectron2.layers\nexcept ModuleNotFoundError as error: print(error.name)"
    assert overlay(code, tmp_path) == "detectron2.layers"


def test_functional_tensor_is_an_alias_where_torchvision_has_renamed_it(tmp_path: Path) -> None:
    write(tmp_path / "torchvision/__init__.py")
    write(tmp_path / "torchvision/transforms/__init__.py")
    write(tmp_path / "torchvision/transforms/_functional_tensor.py", "crop = 'renamed'")
    code = "from torchvision.transforms.functional_tensor import crop; print(crop)"
    assert overlay(code, tmp_path) == "renamed"
    write(tmp_path / "torchvision/transforms/functional_tensor.py", "crop = 'the real one'")
    assert overlay(code, tmp_path) == "the real one"


def test_functional_tensor_is_absent_where_torchvision_is(tmp_path: Path) -> None:
    code = (
        "try: import torchvision.transforms.functional_tensor\n"
        "except ImportError as error: print(error)"
    )
    assert overlay(code, without_torchvision(tmp_path)) == "no torchvision here"


def test_torch_six_has_the_one_name_unless_torch_has_it(tmp_path: Path) -> None:
    write(tmp_path / "torch/__init__.py")
    code = "from torch._six import int_classes; print(int_classes)"
    assert overlay(code, tmp_path) == "<class 'int'>"
    write(tmp_path / "torch/_six.py", "int_classes = 'the real one'")
    assert overlay(code, tmp_path) == "the real one"


def test_the_defaults_import_no_torch(tree: Path) -> None:
    code = "import sys, slowfast.config.defaults; print('torch' in sys.modules)"
    assert python(code, cwd=tree) == "False"


def test_all_49_modules_of_the_package_import(tree: Path) -> None:
    code = """
import importlib, pathlib
record = pathlib.Path("slowfast-1.0.dist-info/RECORD").read_text().splitlines()
names = [line.split(",")[0] for line in record if line.startswith("slowfast/")]
for name in names:
    importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
print(len(names))
"""
    assert python(code, cwd=tree) == "49"


def test_a_spawned_worker_has_the_stand_ins(tree: Path, tmp_path: Path) -> None:
    write(
        tmp_path / "main.py",
        "import multiprocessing, sys\nsys.path.insert(0, sys.argv[1])\n"
        "from slowfast.models.head_helper import ResNetRoIHead\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(getattr, (ResNetRoIHead, '__name__')))",
    )
    done = subprocess.run(
        [sys.executable, "-B", tmp_path / "main.py", tree], capture_output=True, text=True
    )
    assert done.stdout.strip() == "ResNetRoIHead", done.stderr
