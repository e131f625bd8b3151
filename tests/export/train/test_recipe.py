"""What decides a training."""

from dataclasses import replace

from cbir.export.train.recipe import GIVEN_RATE, LAYER_NORM_RATE, RECIPE, SCRATCH_RATE, differences, learning_rates

from tests.support.trainings import RECIPE as EXAMPLE


def test_a_recipe_is_the_same_after_saving_and_loading() -> None:
    assert RECIPE.validate_json(RECIPE.dump_json(EXAMPLE)) == EXAMPLE


def test_what_differs_is_named_with_both_values() -> None:
    changed = replace(EXAMPLE, epochs=9, loss="triplet")
    assert differences(EXAMPLE.as_dict(), EXAMPLE.as_dict()) == ""
    assert differences(EXAMPLE.as_dict(), changed.as_dict()) == "loss softmax (now triplet), epochs 3 (now 9)"


def test_given_weights_learn_more_slowly_than_their_head() -> None:
    assert learning_rates(None, scratch=True, layer_norms=False) == (SCRATCH_RATE, SCRATCH_RATE)
    assert learning_rates(None, scratch=True, layer_norms=True) == (LAYER_NORM_RATE, LAYER_NORM_RATE)
    assert learning_rates(None, scratch=False, layer_norms=True) == (GIVEN_RATE, 10 * GIVEN_RATE)
    assert learning_rates(0.5, scratch=True, layer_norms=True) == (0.5, 0.5)
