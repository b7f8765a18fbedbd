"""Graph networks of face normals: what they correct on meshes of validation shapes."""

from __future__ import annotations

from .html import Html, table, word
from .results import MissingResult, Results, number, shown


def section(results: Results) -> Html:
    """A row a model; empty where the refinement has no graph network.

    Raises:
        MissingResult: no model has one although the refinement needs it.
    """
    refinement = results.config.reconstruct.refinement
    if refinement not in ("graph", "both"):
        return Html("")
    body = []
    for model in results.trained:
        rows = results.rows_if_any(f"refinement/{model}/metrics.csv")
        if not rows:
            continue
        before, after = (number(rows[-1], name) for name in ("val_loss_unchanged", "val_loss"))
        change = None if not before or after is None else f"{100.0 * (after / before - 1.0):+.1f} %"
        body.append((word(model), rows[-1].get("step"), shown(before, 4), shown(after, 4), change))
    if not body:
        raise MissingResult("There is no graph network: this run has no refinement/<model>/metrics.csv.")
    heads = ("Model", "Steps", "Mesh's own normals ↓", "Corrected normals ↓", "Change")
    note = (
        "Mean of 1 − cos of the angle to the normal of the ground truth, by area, over the faces of meshes of validation "
        "shapes that lie within two edge lengths of the ground truth. The meshes are by a network that was trained on half "
        "of the training shapes. The vertices of the meshes in the other sections follow the corrected normals"
        f"{' after the refinement by the gradient' if refinement == 'both' else ''}."
    )
    return table(heads, body, note=note)
