"""STEP files through Open CASCADE, and what is said without it."""

from __future__ import annotations

import base64
import lzma
import sys
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes import load_mesh
from tests.support.step_files import step_file

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]

# A box from (0, 0, 0) to (1, 2, 3) as Open CASCADE writes it to IGES: trimmed planes.
IGES = (
    "{Wp48S^xk9=GL@E0stWa8~^|S5YJf5;4o+dp<MtFZe~*$X@A^6kArmdaM@|2xI2-^olXduMRz)@F}T%hsH4sN?zn>W5FPoZnv_)j"
    "D8x;slChY>7*{V098_7NDueCeO5Y_Bkmh=Fu==eBzxz&<=F)iart<U`y-{P0m1r~VcxJ#U!DKi-+}*Up^OsUnd6TS`6FO-ZcUOr2"
    "`i)TBNo&5v0f0g5SOaO7l~GYghjmbI-0d`))t0e`0U`d|Kekair|?2=)49tQ58#*Ok`vLP5SH%lX}%2I)^V3#c0{)LNMq+Opq6Pt"
    "GDFz%mnC8NAcveI2?YxQiZrHZ9{?cA3^KZ>Doc6o*vtxTN}g8{tEU3qOCxxZwz2sk1zE4ht%TC?DT8_yRgOmfmToM3>_m2~B!)X5"
    ";#V8YuDSw;Ib2hfFdx#qqZVvPGk;HCSYQ*)AMA(rTrGwV0=QoR)25cfS^D#wkhf<aUu6;y7PjSnueu;JF_Yy_sr**h6orY(GM!lg"
    "H^HgGtRJUd(%xk(+B=+FCQ8zrd!28=XXX<=Z3n$cF|RlVN|$-|U`x!yfsZCu(6nW!VItX9<IJHmCDWAoT7m%rfm+nmn*m^Jvk<?B"
    "9cQ*scC9(_AVh15%yghP;wHlP-yV|c=iMG)-qnn^plW*HBKorR5WVSXENedUrnMbu02Ny$ULAHczY0n;sD<x8oYqJ|7i3f>&y&P&"
    "&tBj<Ym|ff$6U+<q-FIg+KU~W=T9tj<3=iHAo&b+7bOkG!=<BHSnZe6s2fxHb}>~L<8oA3SFw^n_eZ@kKSUw$P4dum9unXR6OX*#"
    "K};h7_z-XbjLY-pMm&Aoes6U<oTtU(W>t=aojBK!tjh~<WC~va9+~30PIi2qK{pxw$IjKxUk^sp3KL_`4pEIrXvYrks2Q=<2a8bH"
    "a;;~Gvw-D8<i&TS^QvN64|IXt%8K8PM;$9ie=^v?crx3gd$tmhb3a{3cNL~?JL`&-yDH42pE5%G-NBMD=;-y!NP<7GPeW=Nj3vnb"
    "3@wshmeUw}<FO@}$1O0m+oOTtE?MKzV#2rNQz{Y@qlTBdFi4>NM1)2%8`8TSu-@+G?q{yvo2*=udQl#OA-k^CWi#n!Yl<m_DKY(s"
    "<4U}BdlkHeVb%-Sa@KB+Qyc*nuu+M7sf@PcMh?I(8z|(Y{RyC-8!QH1cDk?p-p(^oGmZ(994PU{HOmnFO+p4;#BqzPUd7sakJri?"
    "00000uGC7$QgAR_00F%R>0kf=^v!`ZvBYQl0ssI200dcD"
)


@pytest.mark.parametrize("name", ["box.step", "BOX.STP"])
def test_a_solid(tmp_path: Path, name: str) -> None:
    pytest.importorskip("cascadio")
    (tmp_path / name).write_bytes(step_file(CORNERS, FACES))
    mesh = load_mesh(tmp_path / name, "z")
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    assert np.ptp(mesh.vertices, axis=0).tolist() == pytest.approx([0.001, 0.003, 0.002])
    assert float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6) == pytest.approx(6e-9)
    assert mesh.unread == ()


def test_trimmed_planes_of_iges(tmp_path: Path) -> None:
    pytest.importorskip("cascadio")
    (tmp_path / "box.IGS").write_bytes(lzma.decompress(base64.b85decode(IGES)))
    mesh = load_mesh(tmp_path / "box.IGS")
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    assert np.ptp(mesh.vertices, axis=0).tolist() == pytest.approx([1, 2, 3])
    assert float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6) == pytest.approx(6)
    assert mesh.unread == ()


def test_files_that_cannot_be_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cascadio")
    good = step_file(CORNERS, FACES)
    for data, message in (
        (b"not STEP", "malformed step file: ERR StepFile"),
        (good[: len(good) // 2], "malformed step file: ERR StepFile"),
        (good.replace(b"=CLOSED_SHELL", b"=CLOSED_SHALL"), "no faces in the file|malformed step file"),
    ):
        (tmp_path / "bad.step").write_bytes(data)
        with pytest.raises(MeshError, match=message) as caught:
            load_mesh(tmp_path / "bad.step")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.step", "a.stp", "a.iges", "a.igs"])
def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "cascadio", None)
    (tmp_path / name).write_bytes(step_file(CORNERS, FACES))
    with pytest.raises(
        MeshError, match=r"STEP and IGES need Open CASCADE \(pip install cascadio, or occnet with"
    ):
        load_mesh(tmp_path / name)
