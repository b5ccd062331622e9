"""The questions, one after the other; each answer is kept at once."""

from collections.abc import Callable, MutableMapping

from mlops.assessment.answers import meaning
from mlops.assessment.rubric import Language, Rubric


def ask(
    rubric: Rubric,
    language: Language,
    answers: MutableMapping[str, bool],
    *,
    again: bool,
    keep: Callable[[], None],
    say: Callable[[str], None],
    hear: Callable[[str], str | None],
) -> bool:
    """Ask what has no answer yet, or `again` everything; whether it came to the end.

    `answers` gets each answer, and `keep` is called after it. `hear` shows a question and returns the line that was
    typed, None at the end of the input. A line that is no answer is asked again; an empty one keeps an earlier answer.
    """
    words, criteria = rubric.in_words(language), rubric.criteria
    pending = {at for at, each in enumerate(criteria) if again or each.id not in answers}
    place = None
    while pending:
        at = min(pending)
        while True:
            each = criteria[at]
            if place != (each.level, each.area):
                place = (each.level, each.area)
                level = words["level"].format(level=each.level)
                say(f"\n{level} · {rubric.areas[each.area].of(language)}")
            earlier = {True: words["yes"], False: words["no"], None: None}[answers.get(each.id)]
            choice = words["choice"] if earlier is None else words["choice_kept"].format(answer=earlier)
            line = hear(f"{at + 1:>2}/{len(criteria)}  {each.statement.of(language)} {choice} ")
            if line is None:
                return False
            typed = meaning(rubric, line)
            if typed == "back":
                at = max(at - 1, 0)
            elif typed in ("yes", "no"):
                answers[each.id] = typed == "yes"
                keep()
                break
            elif typed == "skip" or (earlier and not line.strip()):
                break
            else:
                say(words["again"])
        pending.discard(at)
    return True
