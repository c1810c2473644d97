/**
 * The functions every script can call by name. Self-contained on purpose: in the cage this function
 * is turned into source text and compiled again inside, so it must not use anything from outside but
 * what JavaScript itself brings.
 */
export function helpers() {
  const fail = (message: string): never => {
    throw new Error(message);
  };
  const text = (value: unknown, name: string): string =>
    typeof value === "string" ? value : fail(`${name} expects text, got ${typeName(value)}`);
  const typeName = (value: unknown) =>
    value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
  const pad = (value: number, width = 2, fill = "0") => String(value).padStart(width, fill);

  const seconds = (value: unknown): Date => {
    if (typeof value !== "number" || !Number.isInteger(value)) {
      return fail(`Timestamp must be an integer, got type: ${typeName(value)}`);
    }
    const date = new Date(value * 1000);
    return Number.isNaN(date.getTime()) ? fail(`Timestamp ${value} is out of range`) : date;
  };

  const parse_timestamp = (value: string): number => {
    const given = text(value, "parse_timestamp");
    const shape = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
    const time = shape.test(given) ? Date.parse(given.replace(" ", "T").toUpperCase()) : NaN;
    return Number.isNaN(time) ? fail(`Cannot read an RFC 3339 time from "${given}"`) : time;
  };
  const parse_rfc2822_timestamp = (value: string): number => {
    const given = text(value, "parse_rfc2822_timestamp");
    const shape =
      /^\s*(?:[A-Za-z]{3},\s*)?\d{1,2}\s+[A-Za-z]{3}\s+\d{4}\s+\d\d:\d\d(:\d\d)?\s+([+-]\d{4}|[A-Z]{1,3})/;
    const time = shape.test(given) ? Date.parse(given) : NaN;
    return Number.isNaN(time) ? fail(`Cannot read an RFC 2822 time from "${given}"`) : time;
  };

  const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
  const MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
  ];
  const dayOfYear = (date: Date) =>
    Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000) + 1;
  const isoWeek = (date: Date): [number, number] => {
    const thursday = new Date(date.getTime());
    thursday.setUTCDate(thursday.getUTCDate() + 4 - (thursday.getUTCDay() || 7));
    return [thursday.getUTCFullYear(), Math.ceil(dayOfYear(thursday) / 7)];
  };
  const timestamp_format = (value: number, format: string): string => {
    const d = seconds(value);
    const hour = d.getUTCHours();
    const one = (sign: string): string => {
      switch (sign) {
        case "Y":
          return pad(d.getUTCFullYear(), 4);
        case "C":
          return pad(Math.floor(d.getUTCFullYear() / 100));
        case "y":
          return pad(d.getUTCFullYear() % 100);
        case "m":
          return pad(d.getUTCMonth() + 1);
        case "d":
          return pad(d.getUTCDate());
        case "e":
          return pad(d.getUTCDate(), 2, " ");
        case "H":
          return pad(hour);
        case "k":
          return pad(hour, 2, " ");
        case "I":
          return pad(hour % 12 || 12);
        case "l":
          return pad(hour % 12 || 12, 2, " ");
        case "M":
          return pad(d.getUTCMinutes());
        case "S":
          return pad(d.getUTCSeconds());
        case "f":
          return "000000000";
        case "p":
          return hour < 12 ? "AM" : "PM";
        case "P":
          return hour < 12 ? "am" : "pm";
        case "j":
          return pad(dayOfYear(d), 3);
        case "a":
          return DAYS[d.getUTCDay()]!.slice(0, 3);
        case "A":
          return DAYS[d.getUTCDay()]!;
        case "b":
        case "h":
          return MONTHS[d.getUTCMonth()]!.slice(0, 3);
        case "B":
          return MONTHS[d.getUTCMonth()]!;
        case "u":
          return String(d.getUTCDay() || 7);
        case "w":
          return String(d.getUTCDay());
        case "G":
          return pad(isoWeek(d)[0], 4);
        case "V":
          return pad(isoWeek(d)[1]);
        case "s":
          return String(Math.floor(d.getTime() / 1000));
        case "z":
          return "+0000";
        case "Z":
          return "UTC";
        case "F":
          return `${one("Y")}-${one("m")}-${one("d")}`;
        case "T":
        case "X":
          return `${one("H")}:${one("M")}:${one("S")}`;
        case "R":
          return `${one("H")}:${one("M")}`;
        case "r":
          return `${one("I")}:${one("M")}:${one("S")} ${one("p")}`;
        case "D":
        case "x":
          return `${one("m")}/${one("d")}/${one("y")}`;
        case "c":
          return `${one("a")} ${one("b")} ${one("e")} ${one("T")} ${one("Y")}`;
        case "+":
          return `${one("F")}T${one("T")}+00:00`;
        case "n":
          return "\n";
        case "t":
          return "\t";
        case "%":
          return "%";
        default:
          return fail(`Cannot format a timestamp with "%${sign}"`);
      }
    };
    return text(format, "timestamp_format").replace(/%(-?)([\s\S]?)/g, (_, bare, sign) => {
      const made = one(sign);
      return bare ? made.replace(/^[0 ]+(?=\d)/, "") : made;
    });
  };

  // RFC 9562. Random enough to be unique; scripts have no source of secrets.
  let lastTime = -1;
  let counter = 0;
  const uuid = (): string => {
    const now = Date.now();
    if (now > lastTime) {
      lastTime = now;
      counter = Math.floor(Math.random() * 0x400);
    } else if (++counter > 0xfff) {
      lastTime++;
      counter = 0;
    }
    const time = lastTime.toString(16).padStart(12, "0");
    const rest = () => Math.floor(Math.random() * 0x10000).toString(16).padStart(4, "0");
    const variant = (0x8000 | Math.floor(Math.random() * 0x4000)).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, "0")}-` +
      `${variant}-${rest()}${rest()}${rest()}`;
  };

  const utf8 = (value: string): number[] => {
    const bytes: number[] = [];
    for (const char of value) {
      let code = char.codePointAt(0)!;
      if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
      if (code < 0x80) bytes.push(code);
      else if (code < 0x800) bytes.push(0xc0 | code >> 6, 0x80 | code & 63);
      else if (code < 0x10000) {
        bytes.push(0xe0 | code >> 12, 0x80 | code >> 6 & 63, 0x80 | code & 63);
      } else {
        bytes.push(
          0xf0 | code >> 18,
          0x80 | code >> 12 & 63,
          0x80 | code >> 6 & 63,
          0x80 | code & 63,
        );
      }
    }
    return bytes;
  };

  // FIPS 180-4. The constants are the first bits of roots of primes, so they are computed once.
  const primes: number[] = [];
  for (let n = 2; primes.length < 80; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
  /** The first 64 bits behind the point of the `power`-th root, as two words. */
  const rootBits = (prime: number, power: bigint): [number, number] => {
    const target = BigInt(prime) << (64n * power);
    let root = 0n;
    for (let bit = 1n << 68n; bit > 0n; bit >>= 1n) {
      const next = root | bit;
      if (next ** power <= target) root = next;
    }
    return [Number(root >> 32n & 0xffffffffn) | 0, Number(root & 0xffffffffn) | 0];
  };
  let tables: { k: [number, number][]; h: [number, number][] } | undefined;
  const constants = () =>
    tables ??= {
      k: primes.map((prime) => rootBits(prime, 3n)),
      h: primes.slice(0, 8).map((prime) => rootBits(prime, 2n)),
    };

  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
  /** The message with its padding, as 32-bit words. */
  const blocks = (value: string, bytesPerBlock: number): number[] => {
    const bytes = utf8(value);
    const bits = bytes.length * 8;
    bytes.push(0x80);
    while (bytes.length % bytesPerBlock !== bytesPerBlock - 8) bytes.push(0);
    // Texts of scripts stay far below 2^53 bits.
    for (let i = 7; i >= 0; i--) bytes.push(Math.floor(bits / 2 ** (8 * i)) & 255);
    const words: number[] = [];
    for (let i = 0; i < bytes.length; i += 4) {
      words.push(bytes[i]! << 24 | bytes[i + 1]! << 16 | bytes[i + 2]! << 8 | bytes[i + 3]!);
    }
    return words;
  };

  const sha256 = (value: string): string => {
    const { k, h } = constants();
    const state = h.map(([high]) => high);
    const words = blocks(text(value, "sha256"), 64);
    const rotate = (x: number, n: number) => x >>> n | x << 32 - n;
    const w: number[] = [];
    for (let at = 0; at < words.length; at += 16) {
      for (let t = 0; t < 64; t++) {
        if (t < 16) {
          w[t] = words[at + t]!;
          continue;
        }
        const x = w[t - 15]!;
        const y = w[t - 2]!;
        w[t] = (rotate(y, 17) ^ rotate(y, 19) ^ y >>> 10) + w[t - 7]! +
            (rotate(x, 7) ^ rotate(x, 18) ^ x >>> 3) + w[t - 16]! | 0;
      }
      let [a, b, c, d, e, f, g, i] = state as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      for (let t = 0; t < 64; t++) {
        const one = i + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) +
            k[t]![0] + w[t]! | 0;
        const two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
        i = g;
        g = f;
        f = e;
        e = d + one | 0;
        d = c;
        c = b;
        b = a;
        a = one + two | 0;
      }
      [a, b, c, d, e, f, g, i].forEach((word, n) => state[n] = state[n]! + word | 0);
    }
    return state.map(hex).join("");
  };

  const sha512 = (value: string): string => {
    const { k, h } = constants();
    const mask = (1n << 64n) - 1n;
    const join = ([high, low]: [number, number]) => BigInt(high >>> 0) << 32n | BigInt(low >>> 0);
    const rotate = (x: bigint, n: bigint) => (x >> n | x << 64n - n) & mask;
    const constant = k.map(join);
    const state = h.map(join);
    const words = blocks512(text(value, "sha512"));
    const w: bigint[] = [];
    for (let at = 0; at < words.length; at += 32) {
      for (let t = 0; t < 80; t++) {
        if (t < 16) {
          w[t] = join([words[at + 2 * t]!, words[at + 2 * t + 1]!]);
          continue;
        }
        const x = w[t - 15]!;
        const y = w[t - 2]!;
        w[t] = (rotate(y, 19n) ^ rotate(y, 61n) ^ y >> 6n) + w[t - 7]! +
            (rotate(x, 1n) ^ rotate(x, 8n) ^ x >> 7n) + w[t - 16]! & mask;
      }
      let [a, b, c, d, e, f, g, i] = state as [
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
        bigint,
      ];
      for (let t = 0; t < 80; t++) {
        const one = i + (rotate(e, 14n) ^ rotate(e, 18n) ^ rotate(e, 41n)) +
            (e & f ^ ~e & mask & g) + constant[t]! + w[t]! & mask;
        const two = (rotate(a, 28n) ^ rotate(a, 34n) ^ rotate(a, 39n)) +
            (a & b ^ a & c ^ b & c) & mask;
        i = g;
        g = f;
        f = e;
        e = d + one & mask;
        d = c;
        c = b;
        b = a;
        a = one + two & mask;
      }
      [a, b, c, d, e, f, g, i].forEach((word, n) => state[n] = state[n]! + word & mask);
    }
    return state.map((word) => word.toString(16).padStart(16, "0")).join("");
  };
  const blocks512 = (value: string): number[] => {
    const bytes = utf8(value).length;
    const words = blocks(value, 64);
    // The same padding, but for blocks of 128 bytes and a length of 16 bytes.
    const length = words.splice(-2);
    while (words.length * 4 > bytes + 1 && words.at(-1) === 0) words.pop();
    while (words.length % 32 !== 28) words.push(0);
    return [...words, 0, 0, ...length];
  };

  const pattern = (value: string, flags: string): RegExp => {
    try {
      // Rust writes inline flags in front, `(?i)`, and named groups as `(?P<name>…)`.
      const given = text(value, "regex").replace(/\(\?P</g, "(?<");
      const inline = /^\(\?([imsx]+)\)/.exec(given);
      const more = inline ? inline[1]!.replace("x", "") : "";
      return new RegExp(inline ? given.slice(inline[0].length) : given, flags + more);
    } catch (cause) {
      return fail(`Invalid regex '${value}': ${(cause as Error).message}`);
    }
  };
  const regex_match = (value: string, source: string): boolean =>
    pattern(source, "u").test(text(value, "regex_match"));
  const regex_find = (value: string, source: string): string =>
    pattern(source, "u").exec(text(value, "regex_find"))?.[0] ?? "";
  const regex_replace = (value: string, source: string, replacement: string): string =>
    text(value, "regex_replace").replace(pattern(source, "gu"), (...found) => {
      const last = found.at(-1);
      const named = typeof last === "object" ? last as Record<string, string> : {};
      return text(replacement, "regex_replace").replace(
        /\$\$|\$\{(\w+)\}|\$(\w+)/g,
        (all, braced, plain) => {
          if (all === "$$") return "$";
          const name: string = braced ?? plain;
          if (!/^\d+$/.test(name)) return named[name] ?? "";
          const group = found[Number(name)];
          return typeof group === "string" && Number(name) < found.length - 2 ? group : "";
        },
      );
    });

  const parse_json = (value: string): unknown => {
    try {
      return JSON.parse(text(value, "parse_json"));
    } catch (cause) {
      return fail(`Cannot parse JSON: ${(cause as Error).message}`);
    }
  };

  return {
    parse_json,
    parse_timestamp,
    parse_rfc2822_timestamp,
    timestamp_now: () => Math.floor(Date.now() / 1000),
    timestamp_to_iso: (value: number) => seconds(value).toISOString().replace(/\.\d+Z$/, "Z"),
    timestamp_format,
    timestamp_to_year: (value: number) => seconds(value).getUTCFullYear(),
    timestamp_to_month: (value: number) => seconds(value).getUTCMonth() + 1,
    timestamp_to_day: (value: number) => seconds(value).getUTCDate(),
    timestamp_to_hour: (value: number) => seconds(value).getUTCHours(),
    timestamp_to_hive_path: (value: number) =>
      timestamp_format(value, "year=%Y/month=%m/day=%d/hour=%H"),
    timestamp_round_to_hour: (value: number) =>
      Math.trunc(seconds(value).getTime() / 3_600_000) * 3_600,
    uuid,
    sha256,
    sha512,
    regex_match,
    regex_replace,
    regex_find,
  };
}
