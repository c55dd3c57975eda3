# chart.awk: a table in Markdown as bars in SVG, on a logarithmic scale: each
# step of the grid is ten times the last.
#   awk -f chart.awk -v title=TEXT -v column=2 [-v unit=B] table.md

BEGIN { FS = " *[|] *"; left = 190; width = 390; row = 24; top = 44 }

# The first number of a cell: "1.42 (1.40-1.45)", "167 B"; lines without one
# (the heading, failures) are left out.
/^[|]/ && $(column + 1) ~ /^[0-9]/ {
    n++
    names[n] = $2
    split($(column + 1), parts, " ")
    values[n] = parts[1]
    if (n == 1 || values[n] < least) least = values[n]
    if (n == 1 || values[n] > most) most = values[n]
}

function at(v) { return width * (log(v) / log(10) - low) / (high - low) }

function escape(s) {
    gsub(/&/, "\\&amp;", s)
    gsub(/</, "\\&lt;", s)
    return s
}

END {
    if (n == 0) exit 1
    if (least <= 0) least = 0.01
    low = int(log(least) / log(10) + 100) - 100
    if (least < 2 * 10 ^ low) low--     # so that the shortest can be seen
    high = int(log(most) / log(10) + 101) - 100
    height = top + n * row + 28
    printf "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' " \
        "width='%d' height='%d' role='img' aria-label='%s'>\n", left + width + \
        80, height, left + width + 80, height, escape(title)
    print "<style>text { font: 13px sans-serif; fill: #24292f }"
    print ".grid { stroke: #8c959f; stroke-opacity: .35 }"
    print ".bar { fill: #8c959f } .ours { fill: #0969da }"
    print ".small { font-size: 11px; fill: #6e7781 }"
    print "@media (prefers-color-scheme: dark) { text { fill: #e6edf3 }"
    print ".small { fill: #8b949e } .ours { fill: #4493f8 } }</style>"
    printf "<text x='0' y='18' style='font-weight: bold'>%s</text>\n", escape(title)
    for (i = low; i <= high; i++) {
        x = left + at(10 ^ i)
        printf "<path class='grid' d='M%.1f %dV%d'/><text class='small' " \
            "x='%.1f' y='%d' text-anchor='middle'>%s</text>\n", x, top - 8, \
            height - 20, x, height - 6, 10 ^ i
    }
    for (i = 1; i <= n; i++) {
        y = top + (i - 1) * row
        w = at(values[i])
        printf "<text x='%d' y='%d' text-anchor='end'>%s</text>" \
            "<rect class='bar%s' x='%d' y='%d' width='%.1f' height='16'/>" \
            "<text x='%.1f' y='%d'>%s%s</text>\n", left - 8, y + 13, \
            escape(names[i]), names[i] ~ /^asyncweb/ ? " ours" : "", left, y, \
            w < 1 ? 1 : w, left + w + 5, y + 13, values[i], \
            unit ? " " unit : ""
    }
    print "</svg>"
}
