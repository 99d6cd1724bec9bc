"""Reads an OpenMetrics exposition from stdin with the reference parser, which is strict, and writes it as JSON:
{family: {"type", "unit", "help", "samples": [[name, labels, value]]}}. Ends with 1 at anything wrong."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    if family.name in families:
        sys.exit(f"{family.name} is there twice")
    families[family.name] = {
        "type": family.type,
        "unit": family.unit,
        "help": family.documentation,
        "samples": [[sample.name, sample.labels, sample.value] for sample in family.samples],
    }
json.dump(families, sys.stdout)
