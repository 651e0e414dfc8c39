import { EC2Client } from '@aws-sdk/client-ec2';
import { IAMClient } from '@aws-sdk/client-iam';
import { S3Client } from '@aws-sdk/client-s3';

/** The three services, in one region, with the credentials that the SDK finds by itself. */
export interface Aws {
  /** Reads, and orders that may be given twice: asked again where the network or AWS fails. */
  readonly ec2: EC2Client;
  /** Orders that would make a second one: given once. What came of one that failed has to be looked for. */
  readonly once: EC2Client;
  readonly iam: IAMClient;
  readonly s3: S3Client;
}

/** With the SDK's backoff a throttled call has half a minute. */
const maxAttempts = 8;

export function connectAws(region: string): Aws {
  return {
    ec2: new EC2Client({ region, maxAttempts }),
    once: new EC2Client({ region, maxAttempts: 1 }),
    iam: new IAMClient({ region, maxAttempts }),
    s3: new S3Client({ region, maxAttempts }),
  };
}
