#!/bin/bash
# house.sh [FILE]: the form of asyncweb.h. One file that is read from top to
# bottom keeps to a form, or nobody reads it:
#
#   - at most 30,000 lines, 1,000 a section and 450 for the manual, ASCII, no
#     tabs, no trailing blanks, no line past column 80, without exception;
#   - functions of at most 90 lines, median 10, p90 30 (signature and closing
#     brace included);
#   - the floors of Part III rise, and no static is declared ahead of its
#     definition but for recursion, marked on that line or the one above;
#   - statics are aw__, types and functions aw_, macros AW_ (short names in
#     their own section excepted);
#   - the contents of the manual and the sections name each other.

file=$(cd "$(dirname "${1:-asyncweb.h}")" && pwd)/$(basename "${1:-asyncweb.h}")
. "$(dirname "$0")/lib.sh"
[ -n "${1-}" ] || file=asyncweb.h

# Prints `bad NAME LINE TEXT` for each offence, `rule NAME` for each rule, and
# `fact ...` for the table.
cat >"$tmp/house.awk" <<'AWK'
function offence(rule, line, text) { print "bad\t" rule "\t" line "\t" text }
function fact(name, text) { printf "fact\t%-18s %s\n", name, text }

# The line without its comments, and with strings emptied. `comment` says
# whether the next line begins inside one; `told`, whether this line had one.
function strip(s,    out, i, q) {
    out = ""
    told = 0
    while (s != "") {
        if (comment) {
            told = 1
            i = index(s, "*/")
            if (!i) return out
            s = substr(s, i + 2)
            comment = 0
            continue
        }
        if (!match(s, /\/\*|\/\/|"|'/)) return out s
        q = substr(s, RSTART, 1)
        out = out substr(s, 1, RSTART - 1)
        s = substr(s, RSTART)
        if (q == "/") {
            told = 1
            if (substr(s, 2, 1) == "/") return out
            comment = 1
            s = substr(s, 3)
        } else {
            for (i = 2; i <= length(s) && substr(s, i, 1) != q; i++)
                if (substr(s, i, 1) == "\\") i++
            out = out q q
            s = substr(s, i + 1)
        }
    }
    return out
}

# The name that a declaration declares.
function name_of(d) {
    if (d ~ /^[a-z_ ]*\(\*/) sub(/^[^(]*\(\*/, "", d)   # pointer to function
    sub(/ *[](=;{)[].*/, "", d)
    match(d, /[A-Za-z_0-9]+$/)
    return substr(d, RSTART, RLENGTH)
}

# A declaration at file level has ended. d is its text up to the first brace
# that stayed open.
function declared(d, from, to,    name, head, n) {
    gsub(/__attribute__ *\(\([^()]*(\([^()]*\))?[^()]*\)\) */, "", d)
    sub(/^AW__AWAITABLE_DEFINE/, "AW_ASYNC_DEFINE", d)
    gsub(/AW__[A-Z_]+(\([^()]*\))? */, "", d)
    if (d ~ /^(typedef +)?(struct|union|enum) [^(]*\{/) {
        sub(/^(typedef +)?(struct|union|enum) */, "", d)
        name = name_of(d)
        if (name != "" && name !~ /^aw_/) offence("names", from, name)
        return
    }
    if (d ~ /^typedef/) return
    name = name_of(d)
    head = d
    sub(/\{.*/, "{", head)
    if (head ~ /\) *\{$/ && head !~ /=/) {
        n = to - from + 1
        lengths[++functions] = n
        if (n > most) { most = n; most_name = name }
        if (n > 90) offence("functions", from, name ": " n " lines")
        if (name !~ /^(aw_|AW_ASYNC)/) offence("names", from, name)
    }
    if (part != 3 || d !~ /^static /) return
    if (name !~ /^(aw__|static$)/) offence("names", from, "static " name)
    if (d ~ /[A-Za-z_0-9]\(.*\) *;/ && d !~ /=/ && \
        !recursion[from] && !recursion[from - 1])
        offence("prototypes", from, name)
}

function end_section() {
    if (!section) return
    if (NR - section_at > longest) {
        longest = NR - section_at
        longest_name = section_name
    }
    if (NR - section_at > 1000)
        offence("size", section_at, section_name ": " NR - section_at " lines")
}

BEGIN { part = 1 }

{ raw = $0 }
/[^ -~]/ { offence("characters", NR, "a tab or a character outside ASCII") }
/[ \t]$/ { offence("characters", NR, "trailing blank") }
/TODO|FIXME|XXX/ && !/uXXXX/ { offence("unfinished", NR, raw) }
length(raw) > 80 { offence("columns", NR, length(raw) " columns") }

/^\/\* +Part II:/ { part = 2; manual = NR }
/^\/\* +Part III:/ { part = 3 }
/\/\* *recursion *\*\// { recursion[NR] = 1 }

# Sections, chapters of the manual, and the contents that list both.
/^\/\* >>/ {
    end_section()
    section = substr($2, 3)
    section_name = section ($3 == "" ? "" : " " $3)
    section_at = NR
    if (!(section in tag)) tag[section] = NR
    if (section ~ /^floor[0-9]/) {
        tag[section_name] = NR
        floor = substr(section, 6) + 0
        if (floor < top) offence("floors", NR, section " after floor" top)
        if (floor > top) top = floor
        if (part != 3) offence("floors", NR, section " outside Part III")
    } else if (part == 3) {
        offence("floors", NR, section ": no floor in Part III")
    }
    sections++
}
part == 1 && /^>>/ { tag[substr($1, 3)] = NR }
part == 1 && /^  +>>/ {
    t = substr($1, 3)
    listed[t] = NR
    if (t ~ /^floor[0-9]/ && $2 ~ /^[a-z_0-9]+$/) listed[t " " $2] = NR
}

{
    code = strip(raw)
    if (raw ~ /[^ ]/) full[part]++
    if (told) comments[part]++
}

# Macros: the name on the first line; the rest is not C to look at.
continued { continued = raw ~ /\\$/; next }
/^ *# *define/ && code != "" {
    name = code
    sub(/^ *# *define +/, "", name)
    sub(/[^A-Za-z_0-9].*/, "", name)
    if (section != "short" && \
        name !~ /^(AW_|aw_|ASYNCWEB_|_[A-Z]+(_[A-Z]+)*_SOURCE$|_FILE_OFFSET_BITS$)/)
        offence("names", NR, "macro " name)
}
code ~ /^ *#/ { continued = raw ~ /\\$/; next }

# Declarations at file level. A brace in the first column ends one whatever
# the count says: #if may open the same brace twice.
/^extern "C" *\{/ || (declaration == "" && code ~ /^(\}.*)? *$/) { next }
declaration == "" { from = NR }
!depth { declaration = declaration (declaration == "" ? "" : " ") code }
{
    depth += gsub(/\{/, "{", code) - gsub(/\}/, "}", code)
    if (code ~ /^\}/ || (depth <= 0 && code ~ /[;}] *$/)) {
        declared(declaration, from, NR)
        declaration = ""
        depth = 0
    }
}

END {
    NR++
    end_section()
    NR--
    if (NR > 30000) offence("size", NR, "more than 30,000 lines")
    if (manual - 1 > 450) offence("size", manual, "the manual: over 450 lines")
    for (t in listed)
        if (!(t in tag)) offence("contents", listed[t], "no >>" t)
    for (t in tag)
        if (t !~ / / && !(t in listed))
            offence("contents", tag[t], ">>" t " is not in the contents")
    for (i = 2; i <= functions; i++) {
        n = lengths[i]
        for (j = i - 1; j > 0 && lengths[j] > n; j--)
            lengths[j + 1] = lengths[j]
        lengths[j + 1] = n
    }
    median = lengths[int((functions + 1) / 2)]
    p90 = lengths[int(functions * 0.9 + 0.999)]
    if (median > 10) offence("functions", NR, "median " median)
    if (p90 > 30) offence("functions", NR, "p90 " p90)

    fact("lines", NR " of 30000; the manual " manual - 1 " of 450")
    fact("sections", sections + 0 ", longest " longest + 0 " " longest_name)
    fact("functions", functions + 0 ", median " median ", p90 " p90 \
        ", longest " most + 0 " " most_name)
    for (i = 2; i <= 3; i++)
        fact("comments, Part " (i == 2 ? "II" : "III"), \
            sprintf("%.0f %% of lines", \
                100 * comments[i] / (full[i] ? full[i] : 1)))
}
AWK

LC_ALL=C awk -f "$tmp/house.awk" "$file" >"$tmp/report" || bad "awk"
awk -F '\t' '$1 == "fact" { print "  " $2 }' "$tmp/report"

for rule in size columns characters unfinished functions prototypes floors \
    names contents; do
    found=$(awk -F '\t' -v rule="$rule" -v file="$(basename "$file")" \
        '$1 == "bad" && $2 == rule { print file ":" $3 ": " $4 }' \
        "$tmp/report")
    if [ -z "$found" ]; then ok; else bad "$rule" "$found"; fi
done
finish
