"""Tree-sitter queries that find the functions, by language.

Marks: ``@function`` and ``@class`` are units, ``@scope`` only encloses them, ``@name`` is the name of the
three, ``@receiver`` the type that a Go method belongs to. ``@doc`` is a docstring inside the body of its
``@owner``. ``@outer`` is a wrapper that belongs to its ``@inner``: a decorated definition, a template.
"""

from __future__ import annotations

_PYTHON = """
(function_definition name: (identifier) @name) @function
(class_definition name: (identifier) @name) @class
(decorated_definition definition: (_) @inner) @outer
(function_definition body: (block . (expression_statement . (string) @doc))) @owner
(class_definition body: (block . (expression_statement . (string) @doc))) @owner
"""

_CALLABLE = "[(arrow_function) (function_expression) (generator_function)]"
_JAVASCRIPT = f"""
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @function
(variable_declarator name: (identifier) @name value: {_CALLABLE}) @function
(assignment_expression left: (_) @name right: {_CALLABLE}) @function
(pair key: (_) @name value: {_CALLABLE}) @function
(class_declaration name: (_) @name) @class
(variable_declarator name: (identifier) @name value: (class)) @class
(export_statement "default" @name value: {_CALLABLE}) @function
"""
_JAVASCRIPT_FIELD = f"(field_definition property: (_) @name value: {_CALLABLE}) @function"
_TYPESCRIPT = f"""
(public_field_definition name: (_) @name value: {_CALLABLE}) @function
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(type_alias_declaration name: (_) @name) @class
(internal_module name: (_) @name) @scope
"""

_JAVA = """
(method_declaration name: (_) @name) @function
(constructor_declaration name: (_) @name) @function
(compact_constructor_declaration name: (_) @name) @function
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
(record_declaration name: (_) @name) @class
(annotation_type_declaration name: (_) @name) @class
"""

_GO = """
(function_declaration name: (_) @name) @function
(method_declaration receiver: (_) @receiver name: (_) @name) @function
(type_declaration (type_spec name: (_) @name)) @class
"""

_PHP = """
(function_definition name: (_) @name) @function
(method_declaration name: (_) @name) @function
(assignment_expression left: (_) @name right: [(anonymous_function) (arrow_function)]) @function
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @class
(trait_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @class
"""

_RUBY = """
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function
(class name: (_) @name) @class
(module name: (_) @name) @class
"""

_RUST = """
(function_item name: (_) @name) @function
(macro_definition name: (_) @name) @function
(struct_item name: (_) @name) @class
(enum_item name: (_) @name) @class
(union_item name: (_) @name) @class
(trait_item name: (_) @name) @class
(impl_item type: (_) @name) @scope
(mod_item name: (_) @name) @scope
"""

_C = """
(function_definition declarator: (function_declarator declarator: (_) @name)) @function
(function_definition declarator: (pointer_declarator (function_declarator declarator: (_) @name))) @function
(function_definition declarator:
  (pointer_declarator (pointer_declarator (function_declarator declarator: (_) @name)))) @function
(struct_specifier name: (_) @name body: (_)) @class
(union_specifier name: (_) @name body: (_)) @class
(enum_specifier name: (_) @name body: (_)) @class
"""

_CPP = """
(function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name))) @function
(class_specifier name: (_) @name body: (_)) @class
(namespace_definition name: (_) @name) @scope
(template_declaration [(function_definition) (class_specifier) (struct_specifier)] @inner) @outer
"""

UNITS = {
    "python": _PYTHON,
    "javascript": _JAVASCRIPT + _JAVASCRIPT_FIELD,
    "java": _JAVA,
    "go": _GO,
    "php": _PHP,
    "ruby": _RUBY,
    "typescript": _JAVASCRIPT + _TYPESCRIPT,
    "tsx": _JAVASCRIPT + _TYPESCRIPT,
    "c": _C,
    "cpp": _C + _CPP,
    "rust": _RUST,
}
