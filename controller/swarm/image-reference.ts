const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const domain = `(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::\\d+)?`;
const tag = '[\\w][\\w.-]{0,127}';
const digest = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
/** What an engine can read as the name of an image: the grammar of github.com/distribution/reference. */
export const IMAGE_REFERENCE = new RegExp(
  `^(?:${domain}/)?${component}(?:/${component})*(?::${tag})?(?:@${digest})?$`,
);

/** As the docker CLI sends it and engines list it: without the default registry, and with a tag if it has no digest. */
export function familiarImage(reference: string): string {
  const short = reference.replace(/^(index\.)?docker\.io\//, '').replace(/^library\/(?=[^/]+$)/, '');
  return /[:@][^/]*$/.test(short) ? short : `${short}:latest`;
}
