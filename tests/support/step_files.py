"""Writing small STEP files (ISO 10303-21, AP214): solids with plane polygons as faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def step_file(corners: Sequence[Sequence[float]], polygons: Sequence[Sequence[int]]) -> bytes:
    """A faceted solid, in millimetres; polygons are wound outward."""
    entities: list[str] = []

    def add(text: str) -> str:
        entities.append(text)
        return f"#{len(entities)}"

    def vector(kind: str, values: Sequence[float]) -> str:
        return add(f"{kind}('',({','.join(f'{float(value):.6f}' for value in values)}))")

    length = add("(LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.))")
    angle = add("(NAMED_UNIT(*) PLANE_ANGLE_UNIT() SI_UNIT($,.RADIAN.))")
    error = add(f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-6),{length},'','')")
    context = add(
        f"(GEOMETRIC_REPRESENTATION_CONTEXT(3) GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({error})) "
        f"GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle})) REPRESENTATION_CONTEXT('',''))"
    )
    points = [vector("CARTESIAN_POINT", corner) for corner in corners]
    faces = []
    for polygon in polygons:
        a, b, c = (np.array(corners[i], float) for i in polygon[:3])
        normal = np.cross(b - a, c - a)
        axis = vector("DIRECTION", (normal / np.linalg.norm(normal)).tolist())
        along = vector("DIRECTION", ((b - a) / np.linalg.norm(b - a)).tolist())
        place = add(f"AXIS2_PLACEMENT_3D('',{points[polygon[0]]},{axis},{along})")
        plane = add(f"PLANE('',{place})")
        loop = add(f"POLY_LOOP('',({','.join(points[i] for i in polygon)}))")
        bound = add(f"FACE_OUTER_BOUND('',{loop},.T.)")
        faces.append(add(f"FACE_SURFACE('',({bound}),{plane},.T.)"))
    shell = add(f"CLOSED_SHELL('',({','.join(faces)}))")
    solid = add(f"FACETED_BREP('',{shell})")
    shape = add(f"FACETED_BREP_SHAPE_REPRESENTATION('',({solid}),{context})")
    application = add("APPLICATION_CONTEXT('automotive design')")
    product_context = add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
    product = add(f"PRODUCT('solid','solid','',({product_context}))")
    formation = add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    stage = add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
    definition = add(f"PRODUCT_DEFINITION('','',{formation},{stage})")
    of_product = add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    add(f"SHAPE_DEFINITION_REPRESENTATION({of_product},{shape})")
    header = (
        "FILE_DESCRIPTION((''),'2;1');FILE_NAME('','',(''),(''),'','','');FILE_SCHEMA(('AUTOMOTIVE_DESIGN'));"
    )
    body = "\n".join(f"#{number}={text};" for number, text in enumerate(entities, 1))
    return f"ISO-10303-21;HEADER;{header}ENDSEC;\nDATA;\n{body}\nENDSEC;\nEND-ISO-10303-21;\n".encode()
