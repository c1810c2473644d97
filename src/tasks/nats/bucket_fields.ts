import * as v from "valibot";

/** What a bucket may be called. */
export const BucketName = v.pipe(
  v.string(),
  v.regex(/^[-\w]+$/, 'Expected a name of letters, digits, "_" and "-"'),
);

/** Of buckets of values and of objects; for `v.strictObject({ ...bucketFields, … })`. */
export const bucketFields = {
  replicas: v.optional(v.pipe(
    v.number(),
    v.integer(),
    v.minValue(1),
    v.maxValue(5),
    v.description("Servers that keep a new bucket; 1 when left out."),
  )),
};
