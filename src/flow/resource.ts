/** Texts and files that flows refer to: `{ resource: "queries/x.sql" }`. */
export interface Resources {
  /**
   * @param key Relative, `/` between parts; it never leaves its root.
   * @throws {FlowError} `resource.missing`, `resource.key_invalid`, `resource.unreadable`
   */
  read(key: string): Promise<ResourceFile>;
}

export interface ResourceFile {
  /** Where a person finds it, for error positions. */
  readonly file: string;
  readonly bytes: Uint8Array;
}

/** A field that names a resource in place of inline text; made by the `Text` schema. */
export class ResourceRef {
  constructor(readonly key: string) {}
}

/** What a text field holds. */
export interface FieldText {
  readonly text: string;
  /** Where a person finds a resource, for error positions; inline text stands in the flow file. */
  readonly file?: string;
}

/** Inline text as it is, or a resource as UTF-8. @throws {FlowError} like `Resources.read` */
export async function textOfField(
  field: string | ResourceRef,
  lent: { readonly resources: Resources },
): Promise<FieldText> {
  if (typeof field === "string") return { text: field };
  const { file, bytes } = await lent.resources.read(field.key);
  return { text: new TextDecoder().decode(bytes), file };
}

/** A resource as UTF-8. @throws {FlowError} like `Resources.read` */
export async function textOfResource(resources: Resources, key: string): Promise<string> {
  return new TextDecoder().decode((await resources.read(key)).bytes);
}
