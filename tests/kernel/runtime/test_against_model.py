"""The runtime against a naive interpreter of the same rules."""

from hypothesis import given, settings

from tests.kernel.runtime.model import Model
from tests.kernel.runtime.programs import Execution, inputs, programs


@settings(max_examples=400)
@given(programs, inputs)
def test_every_program_runs_as_the_rules_say(program, steps):
    assert Execution().result(program, steps) == Model().result(program, steps)


@settings(max_examples=50)
@given(programs, inputs)
def test_the_same_program_runs_the_same_way_again(program, steps):
    assert Execution().result(program, steps) == Execution().result(program, steps)
