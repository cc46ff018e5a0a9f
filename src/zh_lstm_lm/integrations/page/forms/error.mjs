// What a form cannot be: the page says it in its reader's language.

export class FormError extends Error {
  // field: the field of the page; key and values: the sentence.
  constructor(field, key, ...values) {
    super(`${field}: ${key} ${values.join(" ")}`);
    Object.assign(this, { field, key, values });
  }
}
