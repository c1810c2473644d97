/**
 * `render(template, data)`: the part of Handlebars that templates use: values, `if`, `unless`, `each`,
 * `with`, `else`, comments. Self-contained like `helpers`, because it is compiled inside the cage.
 */
export function templateHelper() {
  type Frame = { readonly value: unknown; readonly up?: Frame; readonly vars: Vars };
  type Vars = { readonly [name: string]: unknown };
  type Part = (frame: Frame) => string;
  interface Tag {
    readonly before: string;
    readonly body: string;
    readonly raw: boolean;
  }
  const fail = (message: string): never => {
    throw new Error(message);
  };
  const own = (value: unknown, name: string): unknown => {
    if (typeof value === "string" && name === "length") return value.length;
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) {
      return undefined;
    }
    return (value as Record<string, unknown>)[name];
  };
  const lookup = (path: string, frame: Frame): unknown => {
    const literal = /^(?:"([^"]*)"|'([^']*)'|(-?\d+(?:\.\d+)?)|(true|false|null))$/.exec(path);
    if (literal) {
      if (literal[3] !== undefined) return Number(literal[3]);
      if (literal[4] !== undefined) return JSON.parse(literal[4]);
      return literal[1] ?? literal[2];
    }
    let at: Frame = frame;
    let rest = path;
    while (rest.startsWith("../")) {
      at = at.up ?? at;
      rest = rest.slice(3);
    }
    if (rest.startsWith("@")) {
      const [name, ...more] = rest.slice(1).split(".");
      return more.reduce((value, part) => own(value, part), at.vars[name!]);
    }
    if (rest === "this" || rest === "." || rest === "..") {
      return rest === ".." ? at.up?.value : at.value;
    }
    const names = rest.replace(/^this[./]/, "").replace(/\[([^\]]*)\]/g, "$1").split(/[./]/);
    return names.reduce((value: unknown, name) => own(value, name), at.value);
  };
  const isTrue = (value: unknown) =>
    Array.isArray(value) ? value.length > 0 : value !== 0 && Boolean(value);
  const show = (value: unknown): string => {
    if (value === undefined || value === null) return "";
    if (Array.isArray(value)) return value.map(show).join(",");
    return typeof value === "object" ? "[object Object]" : String(value);
  };
  const ESCAPES: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#x27;",
    "`": "&#x60;",
    "=": "&#x3D;",
  };
  const escape = (value: string) => value.replace(/[&<>"'`=]/g, (char) => ESCAPES[char]!);

  const cut = (source: string): { tags: Tag[]; tail: string } => {
    const tags: Tag[] = [];
    let from = 0;
    for (;;) {
      const open = source.indexOf("{{", from);
      if (open < 0) return { tags, tail: source.slice(from) };
      const raw = source.startsWith("{{{", open);
      const comment = source.startsWith("{{!--", open);
      const close = comment ? "--}}" : raw ? "}}}" : "}}";
      const end = source.indexOf(close, open);
      if (end < 0) return fail(`Cannot find the end of "${source.slice(open, open + 40)}"`);
      const body = source.slice(open + (raw ? 3 : 2), end).trim();
      tags.push({ before: source.slice(from, open), body, raw });
      from = end + close.length;
    }
  };

  const compile = (source: string): Part => {
    const { tags, tail } = cut(source);
    let at = 0;
    const sequence = (parts: Part[]): Part => (frame) => {
      let out = "";
      for (const part of parts) out += part(frame);
      return out;
    };
    /** Reads up to the tag that closes `block`; at the top, to the end. */
    const read = (block: string | null): { part: Part; end: string } => {
      const parts: Part[] = [];
      while (at < tags.length) {
        const { before, body, raw } = tags[at++]!;
        parts.push(() => before);
        if (body.startsWith("!")) continue;
        if (body.startsWith("/") || /^(?:else\b|\^$)/.test(body)) {
          if (block === null || (body.startsWith("/") && body.slice(1).trim() !== block)) {
            return fail(`Unexpected {{${body}}} in a template`);
          }
          return { part: sequence(parts), end: body };
        }
        if (body.startsWith("#")) parts.push(section(body.slice(1).trim()));
        else {parts.push(
            value(body.startsWith("&") ? body.slice(1).trim() : body, raw || body.startsWith("&")),
          );}
      }
      if (block !== null) return fail(`Cannot find {{/${block}}} in a template`);
      return { part: sequence([...parts, () => tail]), end: "" };
    };
    const value = (path: string, raw: boolean): Part => {
      if (!/^(?:"[^"]*"|'[^']*'|[^\s(){}"'#>=]+)$/.test(path)) {
        return fail(
          `Cannot read "{{${path}}}": templates of scripts know paths, if, unless, each, with`,
        );
      }
      return (frame) => raw ? show(lookup(path, frame)) : escape(show(lookup(path, frame)));
    };
    const section = (head: string): Part => {
      const [name = "", path = "", ...more] = head.split(/\s+/);
      if (!["if", "unless", "each", "with"].includes(name) || path === "" || more.length > 0) {
        return fail(`Cannot read "{{#${head}}}": templates of scripts know if, unless, each, with`);
      }
      const main = read(name);
      let other: Part = () => "";
      if (!main.end.startsWith("/")) {
        const chained = /^else\s+(.+)$/.exec(main.end);
        // `{{else if x}}` is a block of its own that shares the closing tag of this one.
        other = chained ? chain(chained[1]!, name) : read(name).part;
      }
      return run(name, path, main.part, other);
    };
    const chain = (head: string, closing: string): Part => {
      const [name = "", path = ""] = head.split(/\s+/);
      const main = read(closing);
      let other: Part = () => "";
      if (!main.end.startsWith("/")) {
        const chained = /^else\s+(.+)$/.exec(main.end);
        other = chained ? chain(chained[1]!, closing) : read(closing).part;
      }
      return run(name, path, main.part, other);
    };
    const run = (name: string, path: string, main: Part, other: Part): Part => (frame) => {
      const value = lookup(path, frame);
      if (name === "if") return isTrue(value) ? main(frame) : other(frame);
      if (name === "unless") return isTrue(value) ? other(frame) : main(frame);
      if (name === "with") {
        return isTrue(value) ? main({ value, up: frame, vars: frame.vars }) : other(frame);
      }
      const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
      if (entries.length === 0) return other(frame);
      return entries.map(([key, item], index) =>
        main({
          value: item,
          up: frame,
          vars: {
            ...frame.vars,
            key: Array.isArray(value) ? index : key,
            index,
            first: index === 0,
            last: index === entries.length - 1,
          },
        })
      ).join("");
    };
    return read(null).part;
  };

  const compiled = new Map<string, Part>();
  const render = (template: string, data: unknown): string => {
    if (typeof template !== "string") return fail("render expects a template as text");
    let part = compiled.get(template);
    if (!part) {
      part = compile(template);
      // Templates are usually literals; texts made per event must not pile up.
      if (compiled.size >= 100) compiled.clear();
      compiled.set(template, part);
    }
    return part({ value: data, vars: { root: data } });
  };
  return { render };
}
