"""The configuration: what is wrong is named, what is generated is in step with the code."""

from __future__ import annotations

import json
from typing import ClassVar, get_args

import jsonschema
import pytest
import yaml
from snakemake.cli import parse_config

from occnet_lib import config as configuration
from occnet_lib.config import Config, ModelConfig, check, load, merge
from occnet_lib.config.learning import PRESETS, Preset
from occnet_lib.errors import ConfigError


@pytest.mark.parametrize("path", configuration.generated(), ids=lambda path: path.name)
def test_generated_files_are_in_step_with_the_code(path):
    expected = configuration.generated()[path]
    assert path.read_text(encoding="utf-8") == expected, "run `occnet config --write` (or `make format`)"


def test_config_yaml_is_the_defaults(project):
    assert load(project / "config.yaml") == Config()


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"watertigt": {}}, ["`watertigt`", "did you mean `watertight`", "seed, results"]),
        ({"watertight": {"metod": "carving"}}, ["`watertight.metod`", "`watertight.method`"]),
        ({"watertight": {"method": "carvin"}}, ["`watertight.method`", "'carving'", "'carvin'"]),
        (
            {"watertight": {"rule": "carve"}},
            ["`watertight.rule`", "`watertight.method`", "carve is now carving"],
        ),
        ({"audit": {"leak": [0.1, 0.2]}}, ["`audit.leak`", "`audit.ragged`"]),
        ({"watertight": {"image_size": 32}}, ["`watertight.image_size`", "auto or from 64 to 4096", "32"]),
        ({"models": {"a": {"encodr": "resnet18"}}}, ["`models.a.encodr`", "`models.a.encoder`"]),
        ({"train": {"batch_size": 8}}, ["`train.batch_size`", "use `train.data.batch_size`"]),
        (
            {"train": {"batch_size": 8, "ema": 0.9}, "reconstruct": {"max_error": 0}},
            [
                "`train.batch_size`; use",
                "also `train.ema`: use `train.optimizer.ema`, `reconstruct.max_error`: ",
            ],
        ),
        ({"train.steps": 8}, ["`train.steps`", "sections are nested: `train: {steps: …}`"]),
        ({"a.b.c": 8}, ["`a: {b: {c: …}}`"]),
        ({"reconstruct": {"simplify": 5}}, ["`reconstruct.simplify`", "expected a section", "got 5"]),
        ({"train": {"threads": 2}}, ["`train.threads`", "use `train.hardware.threads`"]),
        ({"reconstruct": {"max_faces": 100}}, ["`reconstruct.max_faces`", "`reconstruct.simplify.faces`"]),
        ({"reconstruct": {"max_error": 0.01}}, ["`reconstruct.simplify.error`"]),
        ({"train": {"steps": "many"}}, ["`train.steps`", "integer", "'many'"]),
        ({"reconstruct": {"threshold": 2}}, ["key `reconstruct.threshold`: ", "less than 1", "2"]),
        ({"train": {"steps": 0}}, ["`train.steps`", "greater than or equal to 1", "0"]),
        ({"dataset": {"split": {"val": 0.6, "test": 0.5}}}, ["`dataset.split`", "below 1"]),
        ({"models": {"onet": None}}, ["`models`", "at least one model"]),
        ({"models": {"a": {"preset": ["onet"]}}}, ["`models.a.preset`"]),
        ({"models": {"a": "seed-b0-fc"}}, ["`models.a`", "`seed-b0-fc` is now called `noisypixel-b0-fc`"]),
        ({"models": {"a": {"preset": "best"}}}, ["`models.a`", "`best` is now called `onet-silhouette`"]),
        ({"models": {"a/b": {}}}, ["`models`", "'a/b'"]),
        ({"models": {"a": {"seeds": 0}}}, ["`models.a.seeds`", "greater than or equal to 1"]),
        ({"models": {"a": {"seeds": 2}, "a-seed1": {}}}, ["`models`", "'a-seed1', which exists already"]),
        ({"models": {"a": {"seeds": 2, "seed": 3}}}, ["`models`", "'a' has both `seed` and `seeds`"]),
        (
            {"evaluate": {"compare": {"onet": "other"}}},
            ["`evaluate.compare` names 'other'", "models are onet"],
        ),
        ({"evaluate": {"compare": {"onet": "onet"}}}, ["`evaluate.compare` compares 'onet' with itself"]),
        ({"models": {"a": {"local": True, "own_cameras": True}}}, ["`models.a.own_cameras` needs", "`pose"]),
        (
            {"models": {"a": {"consistency": 0.1}}, "views": {"count": 1}},
            ["`models.a.consistency`", "`views.count` is 1"],
        ),
        (
            {"models": {"a": {"labels": "hull"}}, "train": {"hardware": {"cache": "gpu"}}},
            ["`train.hardware.cache: gpu`", "`models.a`", "auto"],
        ),
        (
            {"models": {"a": {"silhouettes": float("inf")}}},
            ["`models.a.silhouettes`", "finite number", "inf"],
        ),
        ({"models": {"a": {"consistency": "inf"}}}, ["`models.a.consistency`", "finite number", "'inf'"]),
        ({"train": {"optimizer": {"learning_rate": float("inf")}}}, ["`train.optimizer.learning_rate`"]),
        ({"evaluate": {"views": 0, "next_view": 3}}, ["`evaluate.next_view` needs", "`evaluate.views` is 0"]),
        ({"evaluate": {"views": 0, "uncertainty": True}}, ["`evaluate.uncertainty` needs"]),
        ({"evaluate": {"views": 4, "next_view": 5}}, ["`evaluate.next_view`", "at most 4, not 5"]),
        ({"evaluate": {"uncertainty": "other"}}, ["`evaluate.uncertainty` names 'other'", "models are onet"]),
        ({"evaluate": {"refinements": "other"}}, ["`evaluate.refinements` names 'other'", "models are onet"]),
        ({"models": {"a": {"start": "a"}}}, ["a needs a", "none can be trained first"]),
        (
            {
                "models": {
                    "a": {"start": "b"},
                    "b": {"start": "c"},
                    "c": {"start": "results/train/a/best.ckpt"},
                }
            },
            ["a needs b needs c needs a"],
        ),
        (
            {"models": {"a": {}, "b": {"labels": "hull", "silhouette_cameras": "a"}}},
            ["`models.b.silhouette_cameras` is 'a'", "needs `pose: true`"],
        ),
        ({"evaluate": {"uncertainty": [1]}}, ["`evaluate.uncertainty`: must be", "list of names of models"]),
        (
            {"evaluate": {"uncertainty": ["other"]}},
            ["`evaluate.uncertainty` names 'other'", "models are onet"],
        ),
        ({"points": {"uniform": 100}}, ["`points.uniform`", "multiple of 8"]),
        ({"results": "out/{name}"}, ["`results`", "without braces", "'out/{name}'"]),
        ({"results": "/"}, ["`results`", "path of a folder"]),
    ],
)
def test_a_wrong_key_gives_one_line_that_names_it(values, parts):
    with pytest.raises(ConfigError) as caught:
        check(values)
    text = str(caught.value)
    assert "\n" not in text
    assert "``" not in text
    for part in parts:
        assert part in text


def test_a_path_is_short_for_the_dataset_root():
    assert check({"dataset": "some/meshes"}).dataset_root == "some/meshes"
    assert check({"dataset": "demo", "results": "out/"}).dataset_root == "out/demo"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        *(("03001627", "03001627"), ("04256520", "04256520"), ("02101010", "02101010")),
        *(("12", "12"), ("no", "false"), ("2020-01-02", "2020-01-02"), ("1.5", "1.5")),
    ],
)
def test_a_category_that_yaml_reads_as_something_else_is_said_how_to_write(written, text):
    values = yaml.safe_load(f"dataset: {{categories: [{written}]}}")
    with pytest.raises(ConfigError, match=rf'`dataset\.categories\.0`.*write it in quotes: "{text}"'):
        check(values)
    quoted = yaml.safe_load(f'dataset: {{categories: ["{written}"]}}')
    assert check(quoted).dataset.categories == [written]


def test_the_home_folder_is_understood_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    config = check({"results": "~/out", "dataset": "~/meshes"})
    assert (config.results, config.dataset_root) == ("/home/ada/out", "/home/ada/meshes")
    assert check({"results": "out~"}).results == "out~"


@pytest.mark.parametrize(
    "values", [{"results": "o\udcf6"}, {"dataset": "d\udcf6"}, {"dataset": {"table": "\udcf6"}}]
)
def test_a_path_that_is_not_unicode_is_refused(values):
    with pytest.raises(ConfigError, match="is not UTF-8: rename it"):
        check(values)


def test_overlays_change_leaves_and_null_leaves_a_model_out(project):
    demo = load(project / "config.yaml", project / "workflow" / "demo.yaml")
    assert "onet" not in demo.models
    real = Config().watertight.model_copy(update={"resolution": 96})
    assert demo.watertight == real, "but for the resolution, the demo preprocesses at real settings"
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_presets_by_a_word_by_a_key_and_changed(project):
    models = check(
        {"models": {"a": "noisypixel-b0-fc", "b": {"preset": "noisypixel-b0-fc", "hidden": 256}}}
    ).models
    assert (models["a"].encoder, models["a"].decoder, models["a"].hidden) == ("efficientnet_b0", "fc", 128)
    assert models["b"] == models["a"].model_copy(update={"hidden": 256})
    assert check({"models": {"onet": "onet"}}).models["onet"] == ModelConfig(
        pretrained=True, framing="camera"
    )
    for name in PRESETS:
        assert ModelConfig(preset=name) == ModelConfig(**PRESETS[name])
    assert set(get_args(Preset)) == {"", *PRESETS}
    over_default = merge(
        yaml.safe_load((project / "config.yaml").read_text()), {"models": {"onet": "onet-silhouette"}}
    )
    assert check(over_default).models["onet"] == ModelConfig(preset="onet-silhouette")
    with pytest.raises(ConfigError, match=r"models\.onet.*all keys.*`: onet-silhouette`"):
        check(
            merge(
                over_default, {"models": {"onet": ModelConfig().model_dump() | {"preset": "onet-silhouette"}}}
            )
        )
    with pytest.raises(ConfigError, match="'onet-silhuette'; did you mean 'onet-silhouette'"):
        check({"models": {"a": "onet-silhuette"}})
    jsonschema.validate(
        {"models": {"a": "onet-silhouette", "b": None, "c": {}}}, json.loads(configuration.json_schema())
    )


def test_the_overlay_of_presets_trains_all_of_them(project):
    demo = load(project / "config.yaml", project / "workflow" / "demo.yaml")
    config = load(
        *(project / name for name in ("config.yaml", "workflow/demo.yaml", "workflow/presets.yaml"))
    )
    more = {name: model for name, model in config.models.items() if name not in demo.models}
    actual = [model.model_copy(update={"pretrained": True}) for model in more.values()]
    switched = [{"positional_encoding": 4}, {"frame": "camera"}]
    assert actual == [ModelConfig(preset=name) for name in PRESETS] + [
        ModelConfig(preset="onet", **switch) for switch in switched
    ]
    assert config.train == demo.train  # so that they are compared at equal budget
    assert config.results == demo.results
    documented = (project / "docs" / "models.md").read_text()
    for name, preset in PRESETS.items():
        assert f"| `{name}` |" in documented
        assert f"| {preset['decoder']} | {preset['hidden']}, {preset['c_dim']} |" in documented


def test_the_overlay_for_photos_trains_as_photos_are_taken_and_read(project):
    config = load(project / "config.yaml", project / "workflow" / "photos.yaml")
    assert list(config.models) == ["photos"]
    assert (config.views.protocol, config.images_of("photos").framing) == ("everyday", "object")
    assert config.images_of("photos").gamma > 1.0
    assert config.views.everyday.paint > 0.0
    assert config.evaluate.photos > 0


def test_files_that_cannot_be_read_are_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    for path, word in ((tmp_path / "none.yaml", "No such file"), (broken, "YAML")):
        with pytest.raises(ConfigError, match=word) as caught:
            load(path)
        assert str(path) in str(caught.value)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="sections"):
        load(broken)


def test_the_schema_accepts_the_defaults_and_refuses_unknown_keys(project):
    schema = json.loads(configuration.json_schema())
    values = yaml.safe_load((project / "config.yaml").read_text())
    jsonschema.validate(values, schema)
    values["watertight"]["unknown"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema)


def test_digest_depends_on_values_alone():
    first, second = Config(), Config(seed=1)
    assert configuration.digest(first) == configuration.digest(Config())
    assert configuration.digest(first) != configuration.digest(second)
    assert configuration.digest({"a": 1, "b": 2}) == configuration.digest({"b": 2, "a": 1})


def test_uncertainty_is_measured_of_what_a_model_can_be_evaluated_on():
    models = {
        "onet": None,
        "plain": {"seeds": 2},
        "local": {"local": True},
        "pose": {"local": True, "pose": True},
    }

    def measured(**evaluate):
        return check({"models": models, "evaluate": evaluate}).uncertain_models

    assert measured() == {"views": ["plain", "local", "pose"], "photos": ["plain", "pose"]}
    assert measured(photos=0) == {"views": ["plain", "local", "pose"]}
    assert measured(views=0) == {"photos": ["plain", "pose"]}
    both = ["plain", "plain-seed1"]
    assert measured(uncertainty=["plain", "local"]) == {"views": [*both, "local"], "photos": both}
    assert measured(uncertainty=[]) == measured(uncertainty=True) == measured()


def test_later_keys_are_dumped_only_where_they_change_something():
    """What a rule compares, and the digest of the configuration, are those of earlier versions."""
    assert "refinement" not in Config().model_dump()["reconstruct"]
    assert "refinement" not in json.loads(Config().model_dump_json())["reconstruct"]
    changed = check({"reconstruct": {"refinement": "bilateral"}})
    assert changed.model_dump()["reconstruct"]["refinement"] == "bilateral"
    assert check(changed.model_dump()) == changed
    assert check(Config().model_dump()) == Config()
    assert 'refinement: "gradient"' in configuration.to_yaml(Config())


class TestSeeds:
    VALUES: ClassVar = {
        "seed": 5,
        "models": {"a": {"seeds": 3, "hidden": 64}, "b": "onet", "c-seed7": {"seed": 7}},
    }

    def test_each_training_is_a_model(self):
        config = check(self.VALUES)
        assert list(config.models) == ["a", "a-seed1", "a-seed2", "b", "c-seed7"]
        assert [config.training_seed(name) for name in config.models] == [5, 6, 7, 5, 12]
        assert config.models["a-seed2"] == config.models["a"].model_copy(update={"seed": 2})

    def test_trainings_of_one_model_are_known(self):
        config = check(self.VALUES)
        assert config.distinct_models == ["a", "b", "c-seed7"]
        assert config.seeds_of("a") == config.seeds_of("a-seed1") == ["a", "a-seed1", "a-seed2"]
        assert config.seeds_of("c-seed7") == ["c-seed7"]
        assert [name for name in config.baseline_names if "retrieval" in name] == [
            f"baseline_retrieval-{name}" for name in ("a", "b", "c-seed7")
        ]

    def test_an_overlay_removes_a_comparison(self):
        compared = {"models": {"a": {}, "b": {}}, "evaluate": {"compare": {"b": "a"}}}
        assert check(compared).evaluate.compare == {"b": "a"}
        fewer = merge(compared, {"models": {"b": None}, "evaluate": {"compare": {"b": None}}})
        assert check(fewer).evaluate.compare == {}

    def test_a_dump_is_the_same_configuration(self):
        config = check(self.VALUES)
        assert check(json.loads(config.model_dump_json())) == config
        assert check({"models": {"a": ModelConfig(seeds=2)}}).distinct_models == ["a"]

    def test_keys_of_later_versions_are_absent_while_they_have_their_defaults(self):
        """Dumps are compared with those of finished work, and digested."""
        config = check(self.VALUES)
        assert not config.models["a"].model_dump().keys() & ModelConfig.later_keys
        assert config.models["a-seed1"].model_dump()["seed"] == 1
        assert "threads" not in config.train.model_dump(exclude={"hardware": {"threads"}})["hardware"]


class TestCommandLine:
    """Values as `snakemake --config 'section={…}'` gives them: text."""

    @staticmethod
    def given(*words: str) -> Config:
        return check(parse_config(list(words)))

    def test_null_is_null(self):
        models = "models={a: onet, b: {seeds: 1}, c: null}"
        config = self.given(models, "evaluate={compare: {a: null}}", "reconstruct={simplify: {faces: null}}")
        assert list(config.models) == ["a", "b"]
        assert config.evaluate.compare == {}
        assert config.reconstruct.simplify.faces is None is config.reconstruct.simplify.error

    def test_seeds_are_trainings(self):
        config = self.given("models={a: {preset: onet, seeds: 3}, b: {seed: 2}}")
        assert list(config.models) == ["a", "a-seed1", "a-seed2", "b"]
        assert config == check({"models": {"a": {"preset": "onet", "seeds": 3}, "b": {"seed": 2}}})

    @pytest.mark.parametrize("value", ["many", "2.5", "-1"])
    def test_seeds_that_are_no_count_are_refused(self, value):
        with pytest.raises(ConfigError, match=r"models\.a\.seeds"):
            self.given(f"models={{a: {{seeds: {value}}}}}")

    def test_every_default_is_the_same_as_text(self):
        """The default of each key, written on the command line."""
        plain = json.loads(Config().model_dump_json())
        for name, section in plain.items():
            if isinstance(section, dict) and section:
                text = yaml.safe_dump(section, default_flow_style=True, width=10**6)
                assert self.given(f"{name}={text}") == Config(), text


def test_the_name_of_a_model_stands_for_the_network_that_the_workflow_trains():
    models = {
        "a": {"pose": True},
        "b": {"start": "a", "labels": "hull", "silhouette_cameras": "a", "seeds": 2},
        "c": {"start": "elsewhere/a.ckpt"},
    }
    config = check({"results": "out/", "models": models})
    assert config.networks_used_by("b-seed1") == ["out/train/a/best.ckpt"] * 2
    assert config.networks_used_by("c") == ["elsewhere/a.ckpt"]
    assert config.networks_used_by("a") == []
    assert check(config.model_dump(mode="json")) == config
