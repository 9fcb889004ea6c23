"""A small file in every language, and what must be found in it: (id, kind, qualified name, documentation)."""

GOLDEN: dict[str, tuple[str, str, list[tuple[str, str, str, str]]]] = {
    "python": (
        "app/stack.py",
        '''"""Module text."""
import os


class Stack:
    """A stack of rows."""

    limit = 3

    @property
    def top(self):
        # SECRET comment
        """Return the row on top.

        SECRET details."""
        def inner(): "SECRET only"
        return inner() or self.rows[-1]  # SECRET


class Settings:
    """Plain settings."""
    depth = 1


async def load(path):
    r"""Load all rows from a file."""
    return await read(path)
''',
        [
            ("app/stack.py:10-17", "function", "Stack.top", "Return the row on top."),
            ("app/stack.py:16-16", "function", "Stack.top.inner", "SECRET only"),
            ("app/stack.py:20-22", "class", "Settings", "Plain settings."),
            ("app/stack.py:25-27", "function", "load", "Load all rows from a file."),
        ],
    ),
    "javascript": (
        "web/math.js",
        """/** Adds two numbers.
 * @param {number} a SECRET
 */
export const add = async (a, b) => {
  return a /* SECRET */ + b; // SECRET
};
// Removes everything
// that is old.
function prune() { return 1; }
Foo.prototype.bar = function () { return 2; };
class Kind {
  /** Sends the mail. */
  send() { return 1; }
  late = () => 2;
  static make() {}
}
const table = { key: function () {}, other() {} };
export default function () { return 3; }
""",
        [
            ("web/math.js:4-6", "function", "add", "Adds two numbers."),
            ("web/math.js:9-9", "function", "prune", "Removes everything\nthat is old."),
            ("web/math.js:10-10", "function", "Foo.prototype.bar", ""),
            ("web/math.js:13-13", "function", "Kind.send", "Sends the mail."),
            ("web/math.js:14-14", "function", "Kind.late", ""),
            ("web/math.js:15-15", "function", "Kind.make", ""),
            ("web/math.js:17-17", "function", "key", ""),
            ("web/math.js:17-17", "function", "other", ""),
            ("web/math.js:18-18", "function", "default", ""),
        ],
    ),
    "java": (
        "src/Box.java",
        """package box;
/** SECRET class text. */
public class Box {
  /**
   * Counts the {@code items}.
   * @return SECRET
   */
  @Override
  public int count(int start) { /* SECRET */ return start; }
  Box() {}
}
enum Colour { RED }
""",
        [
            ("src/Box.java:8-9", "function", "Box.count", "Counts the items."),
            ("src/Box.java:10-10", "function", "Box.Box", ""),
            ("src/Box.java:12-12", "class", "Colour", ""),
        ],
    ),
    "go": (
        "stack.go",
        """package stack

// Push adds x to the stack.
// It is fast.
func (s *Stack[T]) Push(x T) {
	s.rows = append(s.rows, x) // SECRET
}

func main() {}

type Point struct{ a int }
""",
        [
            ("stack.go:5-7", "function", "Stack.Push", "Push adds x to the stack.\nIt is fast."),
            ("stack.go:9-9", "function", "main", ""),
            ("stack.go:11-11", "class", "Point", ""),
        ],
    ),
    "php": (
        "lib/mail.php",
        """<?php
namespace Mail;
/** Sends the mail. */
function send($to) { # SECRET
  return $to; // SECRET
}
class Box {
  /** Opens the box. */
  public function open() { return 1; }
}
$later = function ($x) { return $x; };
""",
        [
            ("lib/mail.php:4-6", "function", "send", "Sends the mail."),
            ("lib/mail.php:9-9", "function", "Box.open", "Opens the box."),
            ("lib/mail.php:11-11", "function", "$later", ""),
        ],
    ),
    "ruby": (
        "lib/box.rb",
        """module Mail
  class Box
    # Opens the box
    # at once.
    def open?(key)
      key # SECRET
    end

    def self.make; end
  end
end
""",
        [
            ("lib/box.rb:5-7", "function", "Mail.Box.open?", "Opens the box\nat once."),
            ("lib/box.rb:9-9", "function", "Mail.Box.make", ""),
        ],
    ),
    "typescript": (
        "web/api.ts",
        """export interface Row { a: number }
namespace Net {
  /** Fetches one page. */
  export function fetchPage<T>(x: T): T { return x; } // SECRET
}
abstract class Base { private run(): void {} }
export const twice = (x: number): number => x * 2;
""",
        [
            ("web/api.ts:1-1", "class", "Row", ""),
            ("web/api.ts:4-4", "function", "Net.fetchPage", "Fetches one page."),
            ("web/api.ts:6-6", "function", "Base.run", ""),
            ("web/api.ts:7-7", "function", "twice", ""),
        ],
    ),
    "tsx": (
        "web/Row.tsx",
        """// Shows one row.
export const Row = (props: { a: string }) => <div>{props.a /* SECRET */}</div>;
""",
        [("web/Row.tsx:2-2", "function", "Row", "Shows one row.")],
    ),
    "c": (
        "src/sum.c",
        """/* Sums the numbers.
 * Slowly. */
static int *sum(int a) { return 0; /* SECRET */ }
struct pair { int a; };
""",
        [
            ("src/sum.c:3-3", "function", "sum", "Sums the numbers.\nSlowly."),
            ("src/sum.c:4-4", "class", "pair", ""),
        ],
    ),
    "cpp": (
        "src/max.hpp",
        """namespace num {
/// Returns the larger one.
template <typename T>
T larger(T a, T b) { return a > b ? a : b; } // SECRET
class Box { public: int get() const { return 1; } ~Box() {} };
int Box::put() { return 2; }
}
""",
        [
            ("src/max.hpp:3-4", "function", "num.larger", "Returns the larger one."),
            ("src/max.hpp:5-5", "function", "num.Box.get", ""),
            ("src/max.hpp:5-5", "function", "num.Box.~Box", ""),
            ("src/max.hpp:6-6", "function", "num.Box::put", ""),
        ],
    ),
    "rust": (
        "src/lib.rs",
        """/// Pushes a value.
/// Twice.
#[inline]
pub fn push(x: i32) -> i32 { x } // SECRET
impl<T> Stack<T> {
    // Takes the last one.
    fn pop(&mut self) {}
}
struct Point { a: i32 }
""",
        [
            ("src/lib.rs:4-4", "function", "push", "Pushes a value.\nTwice."),
            ("src/lib.rs:7-7", "function", "Stack<T>.pop", "Takes the last one."),
            ("src/lib.rs:9-9", "class", "Point", ""),
        ],
    ),
}
