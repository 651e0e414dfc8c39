import { messageOf, ProvisionError } from '../contract.ts';

/** The word by which AWS names what went wrong; empty for what did not come from there. */
export function codeOf(error: unknown): string {
  const { name, Code } = (error ?? {}) as { readonly name?: unknown; readonly Code?: unknown };
  const code = typeof Code === 'string' ? Code : name;
  return typeof code === 'string' ? code : '';
}

/** It is not there, or not yet to be seen. */
export function isMissing(error: unknown): boolean {
  return /NotFound|NoSuchEntity|NoSuchBucket|NoSuchKey|NoSuchTagSet|NoSuchPublicAccessBlock/.test(
    codeOf(error),
  );
}

/** What was to be made is there already, whoever made it. */
export function isDuplicate(error: unknown): boolean {
  return /Duplicate|AlreadyExists|AlreadyOwnedByYou|AlreadyAssociated|Resource\.AlreadyAssociated/.test(
    codeOf(error),
  );
}

/** It is still in use by something that goes later, or is going. */
export function isInUse(error: unknown): boolean {
  return /DependencyViolation|DeleteConflict|InvalidGroup\.InUse|BucketNotEmpty|\.InUse$/.test(codeOf(error));
}

/** AWS refused, so that nothing came of it; whatever else goes wrong leaves open whether it was done. */
export function isRefusal(error: unknown): boolean {
  const status = (error as { readonly $metadata?: { readonly httpStatusCode?: number } })?.$metadata
    ?.httpStatusCode;
  return isThrottled(error) || (status !== undefined && status >= 400 && status < 500);
}

function isThrottled(error: unknown): boolean {
  return /RequestLimitExceeded|Throttl|SlowDown|TooManyRequests/.test(codeOf(error));
}

/** What a person must mend, and how: by the code, for texts change. */
const helpless: readonly (readonly [code: RegExp, what: string])[] = [
  [
    /^(AuthFailure|InvalidClientTokenId|UnrecognizedClientException|SignatureDoesNotMatch|InvalidAccessKeyId)$/,
    'AWS does not know these credentials: see AWS_PROFILE, AWS_ACCESS_KEY_ID or ~/.aws/credentials',
  ],
  [/^(ExpiredToken|ExpiredTokenException|RequestExpired)$/, 'the credentials have expired: renew them'],
  [/^CredentialsProviderError$/, 'no credentials are found: set AWS_PROFILE, or write ~/.aws/credentials'],
  [
    /^(UnauthorizedOperation|AccessDenied|AccessDeniedException|Client\.UnauthorizedOperation)$/,
    'the credentials do not allow it: see provisioners/ec2/policy.json for what is needed',
  ],
  [/^OptInRequired$/, 'this region or service is not enabled in the account'],
  [/^(ENOTFOUND|UnknownEndpoint)$/, 'there is no such region, or no network'],
  [/LimitExceeded$/, 'a quota of the account is reached: raise it, or remove what is not needed'],
  [
    /^InvalidIPAddress\.InUse$|^InvalidAddress\.InUse$/,
    'the address is taken by something else in the subnet',
  ],
  [
    /^(InvalidSubnet|InvalidVpc)(\.(Conflict|Range)|Range)?$/,
    'the network cannot be had so: see vpc and subnet',
  ],
  [
    /^(InvalidAMIID\.\w+|InvalidParameterValue|InvalidParameterCombination|Unsupported|InvalidInstanceType)$/,
    'AWS does not take a setting',
  ],
  [/^(BucketAlreadyExists)$/, 'the name belongs to somebody else: give the bucket another one'],
];

/**
 * Tells of what AWS refused what was being done, in its own words and ours. What trying again may mend is told without asking
 * for help: capacity, throttling, what is not to be seen yet.
 */
export function explained(error: unknown, what: string): ProvisionError {
  if (error instanceof ProvisionError) return error;
  const code = codeOf(error);
  const systemCode = (error as { readonly code?: unknown })?.code;
  const found = isThrottled(error)
    ? undefined
    : helpless.find(
        ([pattern]) => pattern.test(code) || (typeof systemCode === 'string' && pattern.test(systemCode)),
      );
  const isOfAws = typeof error === 'object' && error !== null && '$metadata' in error;
  const said = `${messageOf(error).trim()}${isOfAws ? ` (${code})` : ''}`;
  const message = found ? `${what}: ${found[1]}; AWS says: ${said}` : `${what}: ${said}`;
  return new ProvisionError([message], { cause: error, needsHelp: found !== undefined });
}
