/** What can be given on the command line, as text; what each command takes of it is in commands/. */
export interface Flags {
  readonly config?: string | undefined;
  readonly schemaUrl?: string | undefined;
  readonly daemon?: boolean | undefined;
  readonly bootstrap?: boolean | undefined;
  readonly onSlotLoss?: string | undefined;
  readonly standby?: boolean | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly user?: string | undefined;
  /** Ask for the password. */
  readonly password?: boolean | undefined;
  readonly sslmode?: string | undefined;
  readonly sslrootcert?: string | undefined;
  readonly replicaHost?: string | undefined;
  readonly replicaPort?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly slot?: string | undefined;
  readonly checkpoint?: string | undefined;
  readonly numWorkers?: string | undefined;
  readonly viewRefresh?: string | undefined;
  readonly maxDeadLetters?: string | undefined;
  readonly maxMemoryMb?: string | undefined;
  readonly listen?: string | undefined;
  readonly logFormat?: string | undefined;
  readonly verbose?: boolean | undefined;
  /** A path, or false for `--no-env-file`; true where nothing was said. */
  readonly envFile?: string | boolean | undefined;
  /** PGSync's, without effect. */
  readonly wal?: boolean | undefined;
  readonly producer?: boolean | undefined;
  readonly consumer?: boolean | undefined;
  /** PGSync's, not in this version. */
  readonly polling?: boolean | undefined;
  readonly analyze?: boolean | undefined;
  readonly s3SchemaUrl?: string | undefined;
}
