"""Templates from strangers' files: what they may do, and that nothing they try gets further."""

from __future__ import annotations

import pytest

from turboprop.errors import ModelFormatError, UsageError
from turboprop.generate.sandbox import ChatTemplate

GROW = "{% set ns = namespace(x='aaaa') %}{% for i in range(64) %}GROW{% endfor %}{{ ns.x }}"
ATTACKS = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "large range": "{% for i in range(999999999) %}{% endfor %}",
    "repeated text": "{{ 'a' * 1000000000 }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "format of a class": "{{ '{0.__class__}'.format(1) }}",
    "ljust": "{{ 'a'.ljust(1000000000) }}",
    "center": "{{ 'a'|center(1000000000) }}",
    "tilde": GROW.replace("GROW", "{% set ns.x = ns.x ~ ns.x %}"),
    "plus": GROW.replace("GROW", "{% set ns.x = ns.x + ns.x %}"),
    "block": GROW.replace("GROW", "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
    "replace": GROW.replace("GROW", "{% set ns.x = ns.x|replace('a', 'aaaaaaaa') %}"),
    "replace method": GROW.replace("GROW", "{% set ns.x = ns.x.replace('a', 'aaaaaaaa') %}"),
    "join": GROW.replace("GROW", "{% set ns.x = [ns.x, ns.x]|join %}"),
    "join method": GROW.replace("GROW", "{% set ns.x = ns.x.join([ns.x, ns.x]) %}"),
    "lists": GROW.replace("GROW", "{% set ns.x = [ns.x] + [ns.x] %}").replace("[ns.x] + [ns.x]", "ns.x + ns.x"),
    "nested lists": GROW.replace("GROW", "{% set ns.x = [ns.x, ns.x] %}"),
    "nested lists as JSON": GROW.replace("GROW", "{% set ns.x = [ns.x, ns.x] %}").replace(
        "{{ ns.x }}", "{{ ns.x|tojson }}"
    ),
    "numbers": "{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "powers": "{{ 9 ** 999999999 }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "output": "{% for i in range(99999) %}{{ 'TEXT' }}{% endfor %}".replace("TEXT", "a" * 100),
    "classes": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__['sys'] }}",
    "import": "{% import 'os' as os %}",
    "include": "{% include '/etc/passwd' %}",
    "change": "{% set d = {} %}{{ d.update({'a': 1}) }}",
    "syntax": "{% for %}",
    "nothing": "{{ absent.more }}",
    "clock": "{{ strftime_now('%Y' ~ 'a' * 9) }}",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_a_typed_error(name: str) -> None:
    with pytest.raises(ModelFormatError, match="the chat template of m"):
        ChatTemplate(ATTACKS[name], "m").render([])


def test_a_template_may_refuse() -> None:
    template = ChatTemplate("{{ raise_exception('no system, please') }}", "m")
    with pytest.raises(UsageError, match="no system, please"):
        template.render([])


def test_what_real_templates_do() -> None:
    source = """
{%- set ns = namespace(system='', last=-1) -%}
{%- macro turn(role, text) -%}<{{ role }}>{{ text | trim }}</{{ role }}>{%- endmacro -%}
{%- for message in messages -%}
  {%- if loop.first and message['role'] == 'system' -%}{%- set ns.system = message['content'] -%}{%- continue -%}
  {%- endif -%}
  {%- set content = message.content.split('</think>')[-1].lstrip('\n') -%}
  {{- turn(message.role, content ~ ('!' if loop.last else '')) -}}
{%- endfor -%}
{{- (tools | tojson) if tools else '' -}}
{{- messages | selectattr('role', 'equalto', 'user') | list | length -}}
{{- messages[::-1][0].role if not (enable_thinking is defined) else 'x' -}}
{%- generation_note -%}"""
    source = source.replace("{%- generation_note -%}", "{{- '%s' if false else 1 + 1 -}}")
    messages = [
        {"role": "system", "content": "be"},
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "<think>a</think>\nb"},
    ]
    expected = "<user>hi</user><assistant>b!</assistant>1assistant2"
    assert ChatTemplate(source, "m").render(messages, tools=None) == expected


def test_what_is_marked_for_training_is_part_of_the_prompt() -> None:
    source = (
        "{% for message in messages %}{{ message.role }}:\n"
        "{%- generation %}{{ message.content }}{% set seen = true %}{%- endgeneration -%}\n"
        "{{ seen is defined }};{% endfor %}"
    )
    told = ChatTemplate(source, "m").render([{"role": "assistant", "content": "yes"}])
    assert told == "assistant:yesFalse;"


def test_a_file_that_is_no_template() -> None:
    with pytest.raises(ModelFormatError, match="it is none"):
        ChatTemplate("a" * 300_000, "m")
