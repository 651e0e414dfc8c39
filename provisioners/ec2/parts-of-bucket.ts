import {
  AddRoleToInstanceProfileCommand,
  CreateInstanceProfileCommand,
  CreateRoleCommand,
  DeleteInstanceProfileCommand,
  DeleteRoleCommand,
  DeleteRolePolicyCommand,
  GetInstanceProfileCommand,
  GetRoleCommand,
  GetRolePolicyCommand,
  PutRolePolicyCommand,
  RemoveRoleFromInstanceProfileCommand,
} from '@aws-sdk/client-iam';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetBucketTaggingCommand,
  GetPublicAccessBlockCommand,
  ListObjectVersionsCommand,
  PutBucketTaggingCommand,
  PutPublicAccessBlockCommand,
} from '@aws-sdk/client-s3';
import { ProvisionError } from '../contract.ts';
import { codeOf, isInUse, isMissing } from './aws-errors.ts';
import { bucketName, roleName, tags } from './labels.ts';
import { gone, type Lack, made, type Part, partTags, type Scene, tagList, tagValue } from './part.ts';

// The checkpoint's bucket, and the role by which machines may use it: neither is in the VPC, and both are found by name.

/** Undefined when neither the manifest nor memory has its name, and the account is not known. */
const bucketOf = ({ config, cluster, ids, knownId }: Scene): string | undefined => {
  const account = ids.get('account');
  return config.bucket?.name ?? knownId ?? (account && bucketName(cluster, account, config.region));
};

/** Nobody outside of the account, whatever a policy or an access list says. */
const noPublicAccess = {
  BlockPublicAcls: true,
  IgnorePublicAcls: true,
  BlockPublicPolicy: true,
  RestrictPublicBuckets: true,
} as const;

export const bucketPart: Part = {
  name: 'bucket',
  async find(scene, abortSignal) {
    const { s3 } = scene.aws;
    const Bucket = bucketOf(scene);
    if (Bucket === undefined) return undefined;
    const asked = { Bucket };
    const TagSet = await s3.send(new GetBucketTaggingCommand(asked), { abortSignal }).then(
      (answer) => answer.TagSet ?? [],
      (error: unknown) => {
        // It is there, and bears no tags at all.
        if (codeOf(error) === 'NoSuchTagSet') return [];
        if (isMissing(error)) return undefined;
        throw error;
      },
    );
    if (!TagSet) return undefined;
    const isTagged = tagValue(TagSet, tags.cluster) === scene.cluster;
    // One that was made and not yet marked was at least ordered by us.
    if (!isTagged && scene.knownId !== Bucket && !scene.isOrdered) throw foreign(`bucket ${Bucket}`);
    const wanted = partTags(scene.cluster, 'bucket');
    const isMarked = Object.entries(wanted).every(([name, value]) => tagValue(TagSet, name) === value);
    const kept = TagSet.filter(({ Key }) => !Object.hasOwn(wanted, Key!));
    const mark = new PutBucketTaggingCommand({
      ...asked,
      Tagging: { TagSet: [...kept, ...tagList(wanted)] },
    });
    const close = new PutPublicAccessBlockCommand({
      ...asked,
      PublicAccessBlockConfiguration: noPublicAccess,
    });
    const lacks: readonly (Lack | false)[] = [
      !isMarked && { what: 'lacks its tags', mend: () => s3.send(mark) },
      !(await isPrivate(scene, Bucket, abortSignal)) && {
        what: 'is not closed to the public',
        mend: () => s3.send(close),
      },
    ];
    return { id: Bucket, isTagged, lacks: lacks.filter((lack) => lack !== false) };
  },
  make(scene, abortSignal) {
    const { region } = scene.config;
    const order = {
      Bucket: bucketOf(scene)!,
      // The oldest region is the one that must not be named.
      ...(region !== 'us-east-1' && {
        CreateBucketConfiguration: { LocationConstraint: region as 'eu-central-1' },
      }),
    };
    return made(scene.aws.s3.send(new CreateBucketCommand(order), { abortSignal }));
  },
  async remove({ aws, config }, { id: Bucket }, abortSignal) {
    if (config.bucket?.purgeData) await emptyBucket(aws.s3, Bucket, abortSignal);
    try {
      return await gone(aws.s3.send(new DeleteBucketCommand({ Bucket }), { abortSignal }));
    } catch (error) {
      if (!isInUse(error)) throw error;
      return `bucket ${Bucket} is left with its data: purgeData would delete it`;
    }
  },
};

async function isPrivate({ aws }: Scene, Bucket: string, abortSignal: AbortSignal): Promise<boolean> {
  const answer = await aws.s3
    .send(new GetPublicAccessBlockCommand({ Bucket }), { abortSignal })
    .catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
  const has = answer?.PublicAccessBlockConfiguration;
  return Object.keys(noPublicAccess).every((name) => has?.[name as keyof typeof noPublicAccess] === true);
}

/** Every version of every object, a thousand at a time. */
async function emptyBucket(s3: Scene['aws']['s3'], Bucket: string, abortSignal: AbortSignal): Promise<void> {
  for (;;) {
    const listed = await s3
      .send(new ListObjectVersionsCommand({ Bucket }), { abortSignal })
      .catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
    const Objects = [...(listed?.Versions ?? []), ...(listed?.DeleteMarkers ?? [])].map(
      ({ Key, VersionId }) => ({
        Key: Key!,
        ...(VersionId !== undefined && { VersionId }),
      }),
    );
    if (Objects.length === 0) return;
    const order = new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } });
    const { Errors = [] } = await s3.send(order, { abortSignal });
    const [first] = Errors;
    if (first)
      throw new ProvisionError([`${first.Key} of bucket ${Bucket} could not be deleted: ${first.Message}`]);
  }
}

const roleOf = ({ cluster, config }: Scene): string => roleName(cluster, config.region);
const policyName = 'checkpoint';

const mayBeTakenByInstances = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { Service: 'ec2.amazonaws.com' }, Action: 'sts:AssumeRole' }],
});

/** What Hadoop's S3A does with a checkpoint, and nothing in another bucket. */
const checkpointPolicy = (bucket: string): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Action: ['s3:ListBucket', 's3:GetBucketLocation', 's3:ListBucketMultipartUploads'],
        Resource: `arn:aws:s3:::${bucket}`,
      },
      {
        Effect: 'Allow',
        Action: [
          's3:GetObject',
          's3:PutObject',
          's3:DeleteObject',
          's3:AbortMultipartUpload',
          's3:ListMultipartUploadParts',
        ],
        Resource: `arn:aws:s3:::${bucket}/*`,
      },
    ],
  });

export const rolePart: Part = {
  name: 'role',
  async find(scene, abortSignal) {
    const { iam } = scene.aws;
    const RoleName = roleOf(scene);
    const Role = await unlessMissing(iam.send(new GetRoleCommand({ RoleName }), { abortSignal }));
    if (!Role) return undefined;
    if (tagValue(Role.Role?.Tags, tags.cluster) !== scene.cluster) throw foreign(`role ${RoleName}`);
    const PolicyDocument = checkpointPolicy(scene.ids.get('bucket') ?? '');
    const asked = { RoleName, PolicyName: policyName };
    const policy = await unlessMissing(iam.send(new GetRolePolicyCommand(asked), { abortSignal }));
    const isSame =
      policy?.PolicyDocument !== undefined && decodeURIComponent(policy.PolicyDocument) === PolicyDocument;
    const put = () => iam.send(new PutRolePolicyCommand({ ...asked, PolicyDocument }), { abortSignal });
    const lacks = isSame ? [] : [{ what: 'does not allow exactly what a checkpoint needs', mend: put }];
    return { id: RoleName, isTagged: true, lacks };
  },
  make(scene, abortSignal) {
    const order = {
      ...{ RoleName: roleOf(scene), AssumeRolePolicyDocument: mayBeTakenByInstances },
      Tags: tagList(partTags(scene.cluster, 'role')),
    };
    return made(scene.aws.iam.send(new CreateRoleCommand(order), { abortSignal }));
  },
  async remove({ aws }, { id: RoleName }, abortSignal) {
    await gone(
      aws.iam.send(new DeleteRolePolicyCommand({ RoleName, PolicyName: policyName }), { abortSignal }),
    );
    return gone(aws.iam.send(new DeleteRoleCommand({ RoleName }), { abortSignal }));
  },
};

export const profilePart: Part = {
  name: 'profile',
  async find(scene, abortSignal) {
    const { iam } = scene.aws;
    const InstanceProfileName = roleOf(scene);
    const asked = { InstanceProfileName };
    const found = await unlessMissing(iam.send(new GetInstanceProfileCommand(asked), { abortSignal }));
    if (!found) return undefined;
    if (tagValue(found.InstanceProfile?.Tags, tags.cluster) !== scene.cluster)
      throw foreign(`instance profile ${InstanceProfileName}`);
    const RoleName = scene.ids.get('role')!;
    const hasRole = found.InstanceProfile?.Roles?.some((role) => role.RoleName === RoleName);
    // One that has a role already takes no second: IAM calls that a limit.
    const order = new AddRoleToInstanceProfileCommand({ ...asked, RoleName });
    const add = () => made(iam.send(order, { abortSignal }), /^LimitExceeded/);
    return {
      ...{ id: InstanceProfileName, isTagged: true },
      lacks: hasRole ? [] : [{ what: 'has no role', mend: add }],
    };
  },
  make(scene, abortSignal) {
    const order = { InstanceProfileName: roleOf(scene), Tags: tagList(partTags(scene.cluster, 'profile')) };
    return made(scene.aws.iam.send(new CreateInstanceProfileCommand(order), { abortSignal }));
  },
  async remove({ aws: { iam } }, { id: InstanceProfileName }, abortSignal) {
    const asked = { InstanceProfileName };
    const found = await unlessMissing(iam.send(new GetInstanceProfileCommand(asked), { abortSignal }));
    for (const { RoleName } of found?.InstanceProfile?.Roles ?? [])
      await gone(
        iam.send(new RemoveRoleFromInstanceProfileCommand({ InstanceProfileName, RoleName }), {
          abortSignal,
        }),
      );
    return gone(iam.send(new DeleteInstanceProfileCommand({ InstanceProfileName }), { abortSignal }));
  },
};

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function foreign(what: string): ProvisionError {
  return new ProvisionError([`there is a ${what} already, and it is not ours: rename it, or the cluster`], {
    needsHelp: true,
  });
}
