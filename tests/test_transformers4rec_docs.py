"""The page for those who come from Transformers4Rec leaves no name of it out."""

import re
from pathlib import Path

import keras
import pytest

import keras_t4r as t4r

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "transformers4rec.md"

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the page is one for all"
)

# `__all__` of transformers4rec.tf (v0.1.8) and of transformers4rec.torch (23.12).
PUBLIC = """
    AlbertConfig AsDenseFeatures AsSparseFeatures AsTabular BinaryClassificationTask
    Block BlockBase ConcatFeatures ContinuousFeatures DLRMBlock ElectraConfig
    ElementwiseSum ElementwiseSumItemMulti EmbeddingFeatures FeatureConfig
    FilterFeatures GPT2Config Head LabelSmoothCrossEntropyLoss LongformerConfig MLPBlock
    MergeTabular Model NextItemPredictionTask PredictionTask PretrainedEmbeddingFeatures
    PretrainedEmbeddingsInitializer ReformerConfig RegressionTask Schema
    SequenceEmbeddingFeatures SequentialBlock SequentialTabularTransformations
    SoftEmbedding SoftEmbeddingFeatures StackFeatures StochasticSwapNoise T4RecConfig
    T4RecTrainingArguments T4RecTrainingArgumentsTF TableConfig TabularAggregation
    TabularBlock TabularDropout TabularFeatures TabularLayerNorm TabularModule
    TabularSequenceFeatures TabularTransformation Tag
    TextEmbeddingFeaturesWithTransformers Trainer TransfoXLConfig TransformerBlock
    XLNetConfig build_blocks data ranking_metric requires_schema right_shift_block
    right_shift_layer
""".split()
# Public in modules of their own, which its examples import.
MORE = """
    AvgPrecisionAt BertConfig CausalLanguageModeling DCGAt DotProductInteraction
    LogUniformSampler MaskSequence MaskedLanguageModeling MeanReciprocalRankAt
    MerlinDataLoader NDCGAt ParquetDataset PermutationLanguageModeling PostContextFusion
    PrecisionAt RecallAt ReplacementLanguageModeling RobertaConfig T4RecDataLoader
    XDeepFmOuterProduct export_tensorflow_ensemble fit_and_evaluate
    generate_session_interactions remove_consecutive_interactions save_time_based_splits
    session_aggregator tabular_sequence_testing_data
""".split()


def rows():
    """`(theirs, ours, test)` of each row, headings left out."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.strip("|").split(" | ") for line in lines if line.startswith("| ")]
    return [row for row in cells if row[-1].strip() != "test"]


def in_code(text):
    return re.findall(r"`([^`]*)`", text)


def test_no_name_is_left_out():
    named = {name for theirs, *_ in rows() for name in in_code(theirs)}
    assert {*PUBLIC, *MORE} - named == set()


def test_every_row_names_a_test_that_there_is():
    for theirs, _, test in rows():
        (name,) = in_code(test)
        file, function = name.split("::")
        if "TODO" in test:
            continue
        found = [path.read_text(encoding="utf-8") for path in TESTS.rglob(file)]
        assert any(f"\ndef {function}(" in text for text in found), (theirs, name)


def test_every_name_of_ours_is_one():
    seen = set()
    for _, ours, _ in rows():
        if "TODO" in ours:
            ours = ours[: ours.index("TODO")]
        for code in in_code(ours):
            for name in set(re.findall(r"(?<![\w.\"])[A-Z]\w+", code)) - {"True"}:
                rooms = (t4r, t4r.losses, t4r.metrics, keras.layers)
                assert any(hasattr(room, name) for room in rooms), name
                seen.add(name)
    assert {"NextItemHead", "ContextFusion", "FullSoftmax", "SessionETL"} <= seen
