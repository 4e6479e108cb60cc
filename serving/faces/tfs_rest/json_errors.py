"""What is wrong with a JSON text, in the words of the parser that upstream uses."""

from __future__ import annotations

from enum import Enum


class JsonFault(Enum):
    """The faults and their texts, as clients of upstream see and match them."""

    EMPTY = "The document is empty."
    VALUE = "Invalid value."
    NAME = "Missing a name for object member."
    COLON = "Missing a colon after a name of object member."
    OBJECT_COMMA = "Missing a comma or '}' after an object member."
    ARRAY_COMMA = "Missing a comma or ']' after an array element."
    HEX = "Incorrect hex digit after \\u escape in string."
    SURROGATE = "The surrogate pair in string is invalid."
    ESCAPE = "Invalid escape character in string."
    QUOTE = "Missing a closing quotation mark in string."
    TOO_BIG = "Number too big to be stored in double."
    FRACTION = "Miss fraction part in number."
    EXPONENT = "Miss exponent in number."


class JsonError(Exception):
    """A text is not JSON.

    Attributes:
        fault: what is wrong.
        offset: where, in bytes from the start of the body.
    """

    def __init__(self, fault: JsonFault, offset: int) -> None:
        super().__init__(f"{fault.value} at offset: {offset}")
        self.fault = fault
        self.offset = offset
