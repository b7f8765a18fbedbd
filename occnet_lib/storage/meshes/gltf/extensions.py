"""Supported and ignorable extensions of glTF."""

from __future__ import annotations

from .document import Document

# Supported: they affect geometry or colour.
READ = frozenset(
    {
        *("KHR_mesh_quantization", "KHR_draco_mesh_compression", "EXT_meshopt_compression"),
        *("KHR_meshopt_compression", "EXT_mesh_gpu_instancing", "KHR_node_visibility"),
        *("KHR_texture_transform", "EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds"),
        *("KHR_materials_pbrSpecularGlossiness", "KHR_materials_unlit", "KHR_materials_variants"),
        # Its images are not decoded, which is reported; the geometry is right.
        "KHR_texture_basisu",
    }
)

# Ignored: reflection, transparency, light, animation, metadata and coarser levels of detail affect neither geometry nor
# base colour.
IGNORED = frozenset(
    {
        *(
            f"KHR_materials_{name}"
            for name in ("anisotropy", "clearcoat", "dispersion", "ior", "iridescence")
        ),
        *(
            f"KHR_materials_{name}"
            for name in ("sheen", "specular", "transmission", "volume", "volume_scatter")
        ),
        *("KHR_materials_diffuse_transmission", "KHR_lights_punctual", "EXT_lights_ies"),
        *("EXT_lights_image_based", "KHR_animation_pointer", "KHR_xmp_json_ld", "KHR_xmp"),
        *("KHR_materials_emissive_strength", "MSFT_packing_normalRoughnessMetallic"),
        *("MSFT_packing_occlusionRoughnessMetallic", "MSFT_lod", "EXT_mesh_features"),
        *("EXT_instance_features", "EXT_structural_metadata", "CESIUM_primitive_outline"),
        *("KHR_node_selectability", "KHR_node_hoverability", "KHR_audio_emitter", "KHR_interactivity"),
    }
)


def check_required(document: Document) -> None:
    """Refuse a file that requires an unsupported extension.

    Raises:
        MeshError: lists the extensions.
    """
    required = document.tree.get("extensionsRequired") or []
    missing = sorted({str(name)[:80] for name in required} - READ - IGNORED)
    if missing:
        raise document.error(
            f"it needs {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not supported",
            "export it again without, e.g. as plain glTF 2.0 from Blender",
        )
