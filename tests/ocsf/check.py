"""Checks events, one JSON object a line on stdin, against the schema of OCSF 1.8.0, which the PyPI package
ocsf-json-schema brings. Prints what is wrong, and ends with 1 then, or if there was no event at all."""

import collections
import importlib.resources
import json
import sys

SCHEMA = importlib.resources.files("ocsf_json_schema") / "ocsf" / "1.8.0.json"
NUMBERS = {"integer_t", "long_t", "port_t", "timestamp_t"}


class Checker:
    def __init__(self, schema):
        self.objects = schema["objects"]
        self.classes = {c["uid"]: c for c in schema["classes"].values() if c.get("uid")}
        self.wrong = []

    def event(self, event):
        kind = self.classes.get(event.get("class_uid"))
        if kind is None:
            self.wrong.append(f"no class {event.get('class_uid')}")
            return
        profiles = set(event.get("metadata", {}).get("profiles", []))
        if not profiles <= set(kind["profiles"]):
            self.wrong.append(f"profiles {sorted(profiles)}")
        self.members(event, kind, profiles, kind["name"])
        if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
            self.wrong.append("type_uid")
        if event["activity_id"] == 99 and "activity_name" not in event:
            self.wrong.append("an other activity without a name")

    def members(self, value, kind, profiles, path):
        attributes = {
            name: attribute
            for name, attribute in kind["attributes"].items()
            if not attribute.get("profiles") or profiles & set(attribute["profiles"])
        }
        for name, attribute in attributes.items():
            if attribute.get("requirement") == "required" and name not in value:
                self.wrong.append(f"{path}.{name} is missing")
        for name, member in value.items():
            attribute = attributes.get(name)
            if attribute is None:
                self.wrong.append(f"{path}.{name} is not of the schema")
                continue
            if bool(attribute.get("is_array")) != isinstance(member, list):
                self.wrong.append(f"{path}.{name} is {type(member).__name__}")
                continue
            for one in member if isinstance(member, list) else [member]:
                self.member(one, attribute, profiles, f"{path}.{name}")
        for rule, names in (kind.get("constraints") or {}).items():
            found = sum(name in value for name in names)
            if (rule == "at_least_one" and found < 1) or (rule == "just_one" and found != 1):
                self.wrong.append(f"{path}: {rule} of {names}")

    def member(self, value, attribute, profiles, path):
        kind = attribute["type"]
        wanted = str
        if kind == "object_t":
            wanted = dict
        elif kind in NUMBERS:
            wanted = int
        elif kind == "float_t":
            wanted = float
        elif kind == "boolean_t":
            wanted = bool
        elif kind == "json_t":
            return
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self.wrong.append(f"{path} is {type(value).__name__}, and {kind} is wanted")
            return
        if attribute.get("enum") and str(value) not in attribute["enum"]:
            self.wrong.append(f"{path} is {value}")
        of = attribute.get("object_type")
        if kind == "object_t" and of and of != "object":
            self.members(value, self.objects[of], profiles, path)


def main():
    checker = Checker(json.loads(SCHEMA.read_text()))
    seen = collections.Counter()
    uids = set()
    for number, line in enumerate(sys.stdin, 1):
        event = json.loads(line)
        before = len(checker.wrong)
        checker.event(event)
        for what in checker.wrong[before:]:
            print(f"line {number}: {what}")
        seen[event.get("class_uid")] += 1
        uids.add(event["metadata"]["uid"])
    total = sum(seen.values())
    print(f"{total} events, {len(checker.wrong)} mistakes: {dict(sorted(seen.items()))}")
    if checker.wrong or not total or len(uids) != total:
        sys.exit(1)


main()
