"""The JSON schema of suite files, made from the models and the fault types themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from scenarios.schema import Scenario
from venues.sim.fault_kinds import AnyFault
from venues.sim.legs import Legs

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """Schema of one suite file.

    Scenarios inherit from `defaults`, and values may be given by venue; an editor therefore
    checks names and shapes, and `run_sim.py scenario` checks everything.
    """
    scenario = Scenario.model_json_schema(ref_template="#/$defs/{model}")
    definitions = dict(scenario.pop("$defs", {}))
    _, faults = msgspec.json.schema_components([AnyFault], ref_template="#/$defs/{name}")
    definitions.update({name: faults[name] for name in sorted(faults)})
    scenario.pop("required", None)
    definitions["Scenario"] = scenario
    return {
        "$schema": DIALECT,
        "title": "A suite of scenarios",
        "type": "object",
        "required": ["suite", "scenarios"],
        "additionalProperties": False,
        "properties": {
            "suite": {"type": "string"},
            "title": {"type": "string"},
            "defaults": {"$ref": "#/$defs/Scenario"},
            "scenarios": {
                "type": "array",
                "items": {"allOf": [{"$ref": "#/$defs/Scenario"}, {"required": ["name"]}]},
            },
        },
        "$defs": definitions,
        "x-legs": list(Legs.__struct_fields__),
    }
