/**
 * `parse_yaml(text)`: the YAML people write by hand, into JSON values. Block and flow collections,
 * plain, quoted and block scalars, comments; anchors, tags, complex keys and several documents are
 * refused by name. Self-contained like `helpers`, because it is compiled inside the cage.
 */
export function yamlHelper() {
  interface Line {
    readonly number: number;
    readonly indent: number;
    readonly text: string;
  }
  const scalar = (text: string): unknown => {
    if (/^(?:~|null|Null|NULL|)$/.test(text)) return null;
    if (/^(?:true|True|TRUE)$/.test(text)) return true;
    if (/^(?:false|False|FALSE)$/.test(text)) return false;
    if (/^[-+]?\d+$/.test(text) || /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/.test(text)) {
      return Number(text);
    }
    if (/^0x[\da-fA-F]+$/.test(text) || /^0o[0-7]+$/.test(text)) return Number(text);
    return text;
  };
  const ESCAPES: Record<string, string> = {
    n: "\n",
    t: "\t",
    r: "\r",
    "0": "\0",
    b: "\b",
    f: "\f",
    v: "\v",
    a: "\x07",
    e: "\x1b",
    _: "\xa0",
    "/": "/",
    '"': '"',
    "\\": "\\",
    " ": " ",
  };
  const set = (map: Record<string, unknown>, key: string, value: unknown) =>
    Object.defineProperty(map, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });

  const parse_yaml = (source: string): unknown => {
    if (typeof source !== "string") throw new Error("parse_yaml expects text");
    const raw = source.replace(/^\ufeff/, "").split(/\r?\n/);
    let at = 0;
    const fail = (message: string, number = at + 1): never => {
      throw new Error(`Cannot parse YAML at line ${number}: ${message}`);
    };
    const isBlank = (text: string) => /^\s*(?:#.*)?$/.test(text);
    const peek = (): Line | null => {
      while (at < raw.length && isBlank(raw[at]!)) at++;
      if (at >= raw.length) return null;
      const line = raw[at]!;
      if (/^\s*\t/.test(line)) fail("tabs cannot indent");
      const indent = line.search(/\S/);
      if (indent === 0 && /^\.\.\.\s*$/.test(line)) return null;
      if (indent === 0 && /^---(?:\s|$)/.test(line)) {
        return fail("only one document can be read, without text on its --- line");
      }
      return { number: at + 1, indent, text: line.slice(indent) };
    };
    /** The text without a comment at its end. */
    const bare = (text: string) => text.replace(/(?:^|\s+)#.*$/, "").trimEnd();

    /** Reads one flow value from `text`; it may go on over further lines. */
    const flow = (text: string): { value: unknown; rest: string } => {
      let pos = 0;
      let src = text;
      const skip = () => {
        for (;;) {
          while (pos < src.length && /\s/.test(src[pos]!)) pos++;
          if (src[pos] === "#" && (pos === 0 || /\s/.test(src[pos - 1]!))) {
            const end = src.indexOf("\n", pos);
            pos = end < 0 ? src.length : end;
          }
          if (pos < src.length) return;
          if (depth === 0 || at + 1 >= raw.length) return;
          src += "\n" + raw[++at]!.trim();
        }
      };
      let depth = 0;
      const quoted = (): string => {
        const quote = src[pos]!;
        let out = "";
        for (pos++;;) {
          if (pos >= src.length) {
            if (at + 1 >= raw.length) return fail("a quoted text has no end");
            const next = raw[++at]!.trim();
            src = src.trimEnd() + (next === "" ? "\n" : " " + next);
            if (next === "") out += "\n";
            continue;
          }
          const char = src[pos]!;
          if (char === quote) {
            if (quote === "'" && src[pos + 1] === "'") {
              out += "'";
              pos += 2;
              continue;
            }
            pos++;
            return out;
          }
          if (char === "\\" && quote === '"') {
            const sign = src[pos + 1] ?? "";
            const size = ({ x: 2, u: 4, U: 8 } as Record<string, number>)[sign];
            if (size) {
              const digits = src.slice(pos + 2, pos + 2 + size);
              if (!/^[\da-fA-F]+$/.test(digits) || digits.length < size) {
                return fail(`cannot read the escape \\${sign}${digits}`);
              }
              const code = parseInt(digits, 16);
              out += size === 8 ? String.fromCodePoint(code) : String.fromCharCode(code);
              pos += 2 + size;
            } else {
              out += ESCAPES[sign] ?? fail(`cannot read the escape \\${sign}`);
              pos += 2;
            }
            continue;
          }
          out += char;
          pos++;
        }
      };
      const plain = (): string => {
        const from = pos;
        while (pos < src.length && !/[,\[\]{}\n]/.test(src[pos]!)) {
          if (src[pos] === ":" && /[\s,\[\]{}]|^$/.test(src[pos + 1] ?? "")) break;
          if (src[pos] === "#" && /\s/.test(src[pos - 1] ?? " ")) break;
          pos++;
        }
        return src.slice(from, pos).trim();
      };
      const node = (): unknown => {
        skip();
        const char = src[pos];
        if (char === "[") {
          const list: unknown[] = [];
          depth++;
          pos++;
          for (;;) {
            skip();
            if (src[pos] === "]") break;
            if (pos >= src.length) return fail("a list has no end");
            list.push(pair(node()));
            skip();
            if (src[pos] === ",") pos++;
            else if (src[pos] !== "]") return fail("expected , or ] in a list");
          }
          pos++;
          depth--;
          return list;
        }
        if (char === "{") {
          const map: Record<string, unknown> = {};
          depth++;
          pos++;
          for (;;) {
            skip();
            if (src[pos] === "}") break;
            if (pos >= src.length) return fail("a map has no end");
            const key = keyText(node());
            skip();
            let value: unknown = null;
            if (src[pos] === ":") {
              pos++;
              skip();
              value = src[pos] === "," || src[pos] === "}" ? null : node();
            }
            set(map, key, value);
            skip();
            if (src[pos] === ",") pos++;
            else if (src[pos] !== "}") return fail("expected , or } in a map");
          }
          pos++;
          depth--;
          return map;
        }
        if (char === '"' || char === "'") return quoted();
        if (char !== undefined && "&*!%@`".includes(char)) {
          return fail(`cannot read "${char}": anchors, aliases and tags are not supported`);
        }
        return scalar(plain());
      };
      /** `[a: 1]` is a list with a map of one pair. */
      const pair = (key: unknown): unknown => {
        skip();
        if (src[pos] !== ":") return key;
        pos++;
        const map: Record<string, unknown> = {};
        set(map, keyText(key), node());
        return map;
      };
      const value = node();
      return { value, rest: bare(src.slice(pos)) };
    };
    const keyText = (key: unknown): string =>
      typeof key === "object" && key !== null ? fail("a key must be a scalar") : String(key);

    const block = (header: string, parent: number): string => {
      const style = header[0]!;
      const keep = /[+-]/.exec(header)?.[0] ?? "";
      const fixed = /\d/.exec(header)?.[0];
      const lines: string[] = [];
      let indent = fixed ? parent + Number(fixed) : -1;
      for (at++; at < raw.length; at++) {
        const line = raw[at]!;
        if (/^\s*$/.test(line)) {
          lines.push(indent >= 0 ? line.slice(indent) : "");
          continue;
        }
        const own = line.search(/\S/);
        if (indent < 0) indent = own;
        if (own < indent || own <= parent) break;
        lines.push(line.slice(indent));
      }
      let end = lines.length;
      while (end > 0 && lines[end - 1]!.trim() === "") end--;
      const tail = keep === "+"
        ? "\n".repeat(lines.length - end + (end > 0 ? 1 : 0))
        : keep === "-" || end === 0
        ? ""
        : "\n";
      const body = lines.slice(0, end);
      if (style === "|") return body.join("\n") + tail;
      let out = "";
      body.forEach((line, i) => {
        if (i === 0) return void (out = line);
        const before = body[i - 1]!;
        if (/^\s/.test(line) || /^\s/.test(before)) out += "\n" + line;
        else if (line === "") out += "\n";
        else out += (before === "" ? "" : " ") + line;
      });
      return out + tail;
    };

    /** The value behind `key:` or `- `, which stands on this line or below it. */
    const inline = (text: string, indent: number, minChild: number): unknown => {
      const given = bare(text);
      if (given === "") {
        at++;
        const next = peek();
        if (!next || next.indent < minChild) return null;
        return node(next.indent);
      }
      if (/^[|>][-+\d]*$/.test(given)) return block(given, indent);
      if ("[{\"'".includes(given[0]!) || "&*!%@`".includes(given[0]!)) {
        const { value, rest } = flow(text);
        if (rest.trim() !== "") fail(`unexpected "${rest.trim()}"`);
        at++;
        return value;
      }
      // A plain scalar may go on in deeper lines.
      let plain = given;
      for (at++;;) {
        const blankFrom = at;
        const next = peek();
        if (!next || next.indent <= indent) break;
        if (keyEnd(next.text) >= 0) fail("a map cannot start inside a text");
        plain += at > blankFrom ? "\n".repeat(at - blankFrom) : " ";
        plain += bare(next.text);
        at++;
      }
      if (/:\s/.test(plain) || plain.endsWith(":")) fail("a map cannot start inside a text");
      return scalar(plain);
    };

    /** Where the `:` of a `key: value` line is, or -1. */
    const keyEnd = (text: string): number => {
      const first = text[0]!;
      if (first === '"' || first === "'") {
        const quoted = first === '"' ? /^"(?:[^"\\]|\\.)*"/ : /^'(?:[^']|'')*'/;
        const found = quoted.exec(text);
        if (!found) return -1;
        const rest = text.slice(found[0].length);
        const gap = /^\s*:(?=\s|$)/.exec(rest);
        return gap ? found[0].length + gap[0].length - 1 : -1;
      }
      if ("[{".includes(first)) return -1;
      const found = /:(?=\s|$)/.exec(bare(text));
      return found ? found.index : -1;
    };

    const node = (indent: number): unknown => {
      const line = peek()!;
      if (/^-(?:\s|$)/.test(line.text)) return list(indent);
      if (/^\?(?:\s|$)/.test(line.text)) return fail("complex keys are not supported");
      if (keyEnd(line.text) >= 0) return map(indent);
      return inline(line.text, indent - 1, indent);
    };
    const list = (indent: number): unknown[] => {
      const out: unknown[] = [];
      for (let line = peek(); line && line.indent >= indent; line = peek()) {
        if (line.indent > indent) fail("this line is indented too far");
        if (!/^-(?:\s|$)/.test(line.text)) break;
        const rest = line.text.slice(1);
        const gap = rest.search(/\S/);
        const inner = indent + 1 + Math.max(gap, 0);
        const item = rest.trim();
        if (gap >= 0 && !item.startsWith("#") && (keyEnd(item) >= 0 || /^-(?:\s|$)/.test(item))) {
          // `- key: value` starts a map at the column of its key.
          raw[at] = " ".repeat(inner) + rest.slice(gap);
          out.push(node(inner));
        } else {
          out.push(inline(item, indent, indent + 1));
        }
      }
      return out;
    };
    const map = (indent: number): Record<string, unknown> => {
      const out: Record<string, unknown> = {};
      for (let line = peek(); line && line.indent >= indent; line = peek()) {
        if (line.indent > indent) fail("this line is indented too far");
        const end = keyEnd(line.text);
        if (end < 0) fail(`expected "key: value"`);
        const head = line.text.slice(0, end).trim();
        const key = /^["']/.test(head) ? String(flow(head).value) : head;
        if (Object.hasOwn(out, key)) fail(`the key "${key}" is there twice`);
        if (/^[&*!]/.test(key)) fail("anchors, aliases and tags are not supported");
        // A list under a key may stand at the key's own column.
        const value = inlineOrList(line.text.slice(end + 1).trim(), indent);
        set(out, key, value);
      }
      return out;
    };
    const inlineOrList = (text: string, indent: number): unknown => {
      if (bare(text) === "") {
        at++;
        const next = peek();
        if (next && next.indent === indent && /^-(?:\s|$)/.test(next.text)) return list(indent);
        return next && next.indent > indent ? node(next.indent) : null;
      }
      return inline(text, indent, indent + 1);
    };

    while (at < raw.length && (isBlank(raw[at]!) || /^%/.test(raw[at]!))) at++;
    if (/^---\s*(?:#.*)?$/.test(raw[at] ?? "")) at++;
    const first = peek();
    if (!first) return null;
    const value = node(first.indent);
    if (/^\.\.\.\s*$/.test(raw[at] ?? "")) at++;
    if (peek()) fail("expected the end of the document");
    return value;
  };
  return { parse_yaml };
}
