"""Reads the reports of a run as other programs do.

    reports.py junit SCHEMA JUNIT...   valid by the schema; two foreign parsers count the same as the file says
    reports.py feed SCHEMA FEED...     each line is valid by the JSON Schema

Prints a line per file, `tests failures errors skipped` or the number of lines.
"""

import json
import sys
from xml.etree import ElementTree


def junit(schema, files):
    import junitparser
    import xmlschema
    import xunitparser

    schema = xmlschema.XMLSchema(schema)
    for file in files:
        schema.validate(file)
        root = ElementTree.parse(file).getroot()
        cases = list(root.iter("testcase"))
        counts = [len(cases)] + [
            sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error", "skipped")
        ]

        report = junitparser.JUnitXml.fromfile(file)
        read = [0, 0, 0, 0]
        for suite in report:
            for case in suite:
                read[0] += 1
                for result in case.result:
                    for number, kind in enumerate((junitparser.Failure, junitparser.Error, junitparser.Skipped), 1):
                        read[number] += type(result) is kind
        assert read == counts, ("junitparser", read, counts)

        read = [0, 0, 0, 0]
        for suite in root:
            one = ElementTree.tostring(suite, encoding="unicode")
            import io

            _, result = xunitparser.parse(io.StringIO(one))
            read[0] += result.testsRun
            for number, found in enumerate((result.failures, result.errors, result.skipped), 1):
                read[number] += len(found)
        assert read == counts, ("xunitparser", read, counts)
        print(*counts)


def feed(schema, files):
    import jsonschema

    with open(schema) as file:
        schema = json.load(file)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    validator = validator(schema)
    for name in files:
        with open(name) as file:
            lines = file.readlines()
        for line in lines:
            validator.validate(json.loads(line))
        print(len(lines))


{"junit": junit, "feed": feed}[sys.argv[1]](sys.argv[2], sys.argv[3:])
