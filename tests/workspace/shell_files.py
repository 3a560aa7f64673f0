"""Make the manual page and the completions of the command from its parser: ``python shell_files.py`` writes them.

They are made before a release, and are files like others from then on, so that neither building nor running needs what makes
them: argparse-manpage and shtab. A test holds them equal to the parser.
"""

from __future__ import annotations

import argparse
from pathlib import Path

SHARE = Path(__file__).parents[2] / "packages" / "rdzv" / "share"
COMPLETIONS = {
    "bash": "bash-completion/completions/rdzv",
    "fish": "fish/vendor_completions.d/rdzv.fish",
    "zsh": "zsh/site-functions/_rdzv",
}
MANUAL = "man/man1/rdzv.1"


def made() -> dict[str, str]:
    """The text of each file, by its path below ``share``."""
    import shtab

    files = {path: shtab.complete(parser(), shell) for shell, path in COMPLETIONS.items()}
    return {**files, MANUAL: manual()}


def parser() -> argparse.ArgumentParser:
    """The command's, with a help for each of its commands: shtab passes over those without, and a start is faster without."""
    from rdzv import _command

    parser = _command._parser()
    parser.epilog = None  # It refers to what is written here.
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        about = " ".join(command.description.split())
        commands._choices_actions.append(commands._ChoicesPseudoAction(name, (), about))
    return parser


def manual() -> str:
    """The manual page, in roff. The version and the date are left out: a page does not change because time passes."""
    from argparse_manpage.manpage import Manpage
    from rdzv import _command

    page = Manpage(parser(), format="single-commands-section")
    page.description, page.source, page.manual, page.date = _command._QUESTION, "rdzv", "rdzv", ""
    for command, epilog in (("check", _command._EXAMPLES), ("env", _command._ENV_EXAMPLES)):
        for section in epilog.strip().split("\n\n"):
            heading, _, lines = section.partition(":\n")
            text = lines.replace("\\", "\\e").replace("-", "\\-")
            page.add_section(f"{heading} of rdzv {command}", ">", f".nf\n{text}\n.fi")
    return str(page)


def main() -> None:
    for path, text in made().items():
        (SHARE / path).parent.mkdir(parents=True, exist_ok=True)
        (SHARE / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
