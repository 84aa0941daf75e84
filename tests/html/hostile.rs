//! Fifty texts that a page must show and not obey.

/// The texts.
pub(super) fn corpus() -> Vec<String> {
    let long = "x".repeat(5000);
    let many = "<b>".repeat(300);
    let texts = [
        "<script>window.hostile = 1</script>",
        "</script><script>window.hostile = 2</script>",
        "</SCRIPT ><img src=x onerror=\"window.hostile = 3\">",
        "<!--<script>window.hostile = 4",
        "--><script>window.hostile = 5</script>",
        "<![CDATA[<script>window.hostile = 6</script>]]>",
        "<img src=x onerror=window.hostile=7>",
        "<svg onload=window.hostile=8>",
        "<svg><script>window.hostile=9</script></svg>",
        "<body onload=window.hostile=10>",
        "<iframe srcdoc=\"<script>parent.hostile=11</script>\"></iframe>",
        "<iframe src=\"javascript:parent.hostile=12\"></iframe>",
        "<a href=\"javascript:window.hostile=13\">click</a>",
        "javascript:window.hostile=14",
        "data:text/html,<script>window.hostile=15</script>",
        "\"><script>window.hostile=16</script>",
        "'><script>window.hostile=17</script>",
        "\" onmouseover=\"window.hostile=18",
        "' onfocus='window.hostile=19' autofocus='",
        "` onclick=`window.hostile=20",
        "</title><script>window.hostile=21</script>",
        "</style><script>window.hostile=22</script>",
        "</textarea><script>window.hostile=23</script>",
        "</pre></details></section><h1>gone</h1>",
        "<style>* { display: none !important }</style>",
        "<link rel=stylesheet href=https://example.invalid/x.css>",
        "<meta http-equiv=refresh content=\"0;url=https://example.invalid/\">",
        "<base href=https://example.invalid/>",
        "<form action=https://example.invalid/><button>go</button></form>",
        "<object data=https://example.invalid/></object>",
        "<math><mi xlink:href=\"javascript:window.hostile=31\">x</mi></math>",
        "{{ 7 * 7 }}{% raw %}{# gone #}",
        "${window.hostile=33} #{window.hostile=33}",
        "&lt;script&gt;window.hostile=34&lt;/script&gt;",
        "&amp;&#60;&#x3c;&nbsp;&copy",
        "\\u003cscript>window.hostile=36\\u003c/script>",
        "line\u{2028}separator\u{2029}paragraph",
        "nul \0 bell \u{7} backspace \u{8} delete \u{7f}",
        "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{1b}[2J",
        "\u{1b}[38;5;196mcolour\u{1b}[1;2;22;39m \u{1b}[999;;;m",
        "right \u{202e}ot tfel\u{202c} isolate \u{2066}x\u{2069}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627} mixed 123",
        "zero\u{200b}width\u{200d}joiner \u{feff}mark",
        "not characters \u{fffe} \u{ffff} \u{fff9} replaced \u{fffd}",
        "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301} \u{1f469}\u{200d}\u{1f680}",
        "__proto__ constructor toString hasOwnProperty",
        "c1 \u{9b}31m \u{85} next",
        "..\\..\\..\\etc/../../passwd?query#fragment%00%2e",
    ];
    let mut corpus: Vec<_> = texts.map(str::to_owned).to_vec();
    corpus.extend([long, many]);
    corpus
}

/// The text as a page shows it, in an output.
pub(super) fn visible(text: &str) -> String {
    let colour = regex::Regex::new("\u{1b}\\[[0-9;]*m").expect("a pattern");
    let shown = |one: char| match one {
        '\n' | '\t' => one.to_string(),
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}'
        | '\u{ffff}' => {
            format!("\\u{{{:x}}}", u32::from(one))
        }
        _ if one.is_control() => format!("\\u{{{:x}}}", u32::from(one)),
        _ => one.to_string(),
    };
    colour.replace_all(text, "").chars().map(shown).collect()
}
