"""Bounds on one pattern.

Together they keep the worst decision between two accepted patterns under ten milliseconds;
`bench/globs_index.py` measures the worst known pairs against that figure.
"""

# Longest path or pattern, in characters. It holds after normalising as well, because
# normalising to NFC and case folding can make a text longer.
PATTERN_LEN_MAX = 1024

# A pattern is compiled by functions that call themselves once per level of nesting.
BRACE_DEPTH_MAX = 8

# Every group is one more place where an automaton has to look for a jump at each step, so the
# cost of a step grows with the groups. People write two or three.
BRACE_GROUPS_MAX = 16

# Alternatives of all groups together. They cost memory and compile time, not steps.
BRACE_ALTERNATIVES_MAX = 128

# Different classes in one pattern. Each class of one pattern is compared with each class of the
# other; the same class written many times (a commit hash) counts once.
CLASSES_MAX = 32

# `*`, `?` and classes in one pattern, as written. Wildcards are what makes sets of states grow; the
# longest honest pattern is a commit hash spelt out as forty classes.
WILDCARDS_MAX = 128

# Segments of a pattern which has wildcards. `**` makes a decision compare every number of
# segments; a path without wildcards has no such bound.
WILD_SEGMENTS_MAX = 128

# States of the compiled automaton. Only braces can multiply states, by changing what the text
# after them means (`{*,a}*`, `{a/,}b`); a text of PATTERN_LEN_MAX without braces stays below.
STATES_MAX = 2 * PATTERN_LEN_MAX

# Jumps of the compiled automaton, the last word on the cost of one step.
JUMPS_MAX = 48

# A text up to this long cannot break the limits on length, wildcards, segments and classes, even
# if folding makes three characters of each, so it need not be counted through.
SHORT_LEN_MAX = 96

# A longer pattern with wildcards is compiled when it is parsed, so that no decision has to pay for
# it; shorter ones, the ordinary ones, are compiled when first needed and load faster.
LAZY_LEN_MAX = 160

# With more groups than this, only compiling can tell whether the braces combine in too many ways.
LAZY_GROUPS_MAX = 4

# A pattern whose braces change the number of its segments is filed in the index once for each
# expansion up to this many; beyond it, it is compared whole.
INDEX_VARIANTS_MAX = 16

assert BRACE_GROUPS_MAX <= BRACE_ALTERNATIVES_MAX <= PATTERN_LEN_MAX
assert PATTERN_LEN_MAX < STATES_MAX
assert min(3 * CLASSES_MAX, WILDCARDS_MAX, WILD_SEGMENTS_MAX, PATTERN_LEN_MAX // 3) >= SHORT_LEN_MAX
assert 4 * LAZY_GROUPS_MAX < JUMPS_MAX
