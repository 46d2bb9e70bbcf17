"""`vars:` and `${name}`: a variable stands for a whole value. There is no templating inside text."""

from __future__ import annotations

import re

from tem_sim.scenario.errors import Problem, did_you_mean
from tem_sim.scenario.tree import Entry, Items, Leaf, Step, Table, Tree, leaves, written

_WHOLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def filled_in(tree: Table, own_file: str, problems: list[Problem]) -> Table:
    """Return the tree with variables filled in and `vars` gone; add to `problems` what is unknown, unused or nested.

    A variable that a base file defines may go unused; one of the file itself or from the command line may not.
    """
    entry = tree.entries.get("vars")
    body = tree.without("vars")
    if entry is not None and not isinstance(entry.tree, Table):
        problems.append(Problem(entry.tree.spot, "vars", "must be a mapping of names to values"))
        return body
    variables = dict(entry.tree.entries) if entry is not None and isinstance(entry.tree, Table) else {}
    _refuse_nesting(variables, problems)
    used: set[str] = set()
    result = _substituted(body, (), variables, used, problems)
    for name, (key, _) in variables.items():
        if name not in used and (key.line is None or key.file == own_file):
            rule = f"is never used; write ${{{name}}} as a value, or take it out"
            problems.append(Problem(key, f"vars.{name}", rule))
    assert isinstance(result, Table)
    return result


def _refuse_nesting(variables: dict[str, Entry], problems: list[Problem]) -> None:
    for name, (_, tree) in variables.items():
        for path, leaf in leaves(tree, ("vars", name)):
            if isinstance(leaf.value, str) and _WHOLE.search(leaf.value):
                problems.append(Problem(leaf.spot, written(path), "must not refer to other variables", leaf.text))


def _substituted(
    tree: Tree, path: tuple[Step, ...], variables: dict[str, Entry], used: set[str], problems: list[Problem]
) -> Tree:
    if isinstance(tree, Items):
        items = [_substituted(item, (*path, n), variables, used, problems) for n, item in enumerate(tree.items)]
        return Items(tuple(items), tree.spot)
    if isinstance(tree, Table):
        entries = {
            key: Entry(entry.key, _substituted(entry.tree, (*path, key), variables, used, problems))
            for key, entry in tree.entries.items()
        }
        return Table(entries, tree.spot)
    return _value_of(tree, path, variables, used, problems)


def _value_of(
    leaf: Leaf, path: tuple[Step, ...], variables: dict[str, Entry], used: set[str], problems: list[Problem]
) -> Tree:
    found = _WHOLE.search(leaf.value) if isinstance(leaf.value, str) else None
    if found is None or not isinstance(leaf.value, str):
        return leaf
    name = found.group(1)
    used.add(name)
    if found.group(0) != leaf.value.strip():
        rule = f"a variable is filled in for a whole value only; write {found.group(0)} alone, or the text itself"
        problems.append(Problem(leaf.spot, written(path), rule, leaf.text))
        return leaf
    if name not in variables:
        rule = f"there is no variable {name}; define it under vars"
        problems.append(Problem(leaf.spot, written(path), rule, leaf.text, did_you_mean(name, variables)))
        return leaf
    tree = variables[name].tree
    # A wrong value is shown where it is used; the parts of a larger one where they are written.
    return Leaf(tree.value, f"{tree.text} from {leaf.text}", leaf.spot) if isinstance(tree, Leaf) else tree
