import pytest
from pydantic import ValidationError

from models.bundle import EncoderBundle
from models.compression.pipeline import compress
from models.compression.settings import CompressionSettings
from models.encoder import Encoder
from tests.models.conftest import TINY


def with_bits(**bits: int) -> CompressionSettings:
    named = {name.replace("__", "."): value for name, value in bits.items()}
    return CompressionSettings.model_validate(
        {**TINY, "quantization": {**TINY["quantization"], "bits": named}}
    )


def test_single_weights_may_have_bits_of_their_own():
    plan = with_bits(words=4, layers__0__feed_in=5).plan
    assert plan.pop("words") == 4
    assert plan.pop("layers.0.feed_in") == 5
    assert set(plan.values()) == {8}


def test_settings_that_name_no_weight_are_told_apart_as_before(tiny_settings):
    """Addresses of what was made before `bits` was there stay good."""
    assert "bits" not in tiny_settings.model_dump()["quantization"]
    assert with_bits().model_dump() == tiny_settings.model_dump()
    assert with_bits(words=4).model_dump()["quantization"]["bits"] == {"words": 4}


def test_bits_of_a_weight_that_is_not_there_are_refused():
    with pytest.raises(ValidationError, match=r"'layers.1.feed_in'.*its weights are words, posit"):
        with_bits(layers__1__feed_in=4)
    with pytest.raises(ValidationError, match="7"):
        with_bits(words=7)


def test_what_ships_has_these_bits(teacher_folder, tiny_corpus, compression_cache, tmp_path):
    settings = with_bits(words=4, projector=6)
    out = tmp_path / "bundle"
    compress(teacher_folder, tiny_corpus, settings, out, compression_cache, seed=3, threads=1)
    bundle = EncoderBundle.open(out)
    assert bundle.manifest["origin"]["bits"] == settings.plan
    assert set(settings.plan.values()) == {4, 6, 8}
    assert Encoder.load(out).encode(["heat (1995). crime"]).any()
