/** Options that several commands take together. */
import type { Command, OptionValues } from "@commander-js/extra-typings";
import * as options from "./options.ts";

/**
 * Makes of a group something that gives it to a command of whatever options, with the types of its flags. The group's flags are
 * worked out on a command without options: on one whose options are a type variable it takes TypeScript minutes.
 */
function group<Flags extends OptionValues>(add: (command: Command) => Command<[], Flags>) {
  return <Args extends unknown[], Own extends OptionValues, Shared extends OptionValues>(
    command: Command<Args, Own, Shared>,
  ): Command<Args, Own & Flags, Shared> => {
    // Adding changes the command itself; only its type is another afterwards.
    add(command as unknown as Command);
    return command as unknown as Command<Args, Own & Flags, Shared>;
  };
}

/** Where the schema file is. */
export const withSchemaFile = group((command) =>
  command
    .addOption(options.config)
    .addOption(options.schemaUrl)
    .addOption(options.s3SchemaUrl)
);

/** How PostgreSQL is reached. */
export const withPostgres = group((command) =>
  command
    .addOption(options.host)
    .addOption(options.port)
    .addOption(options.user)
    .addOption(options.password)
    .addOption(options.sslmode)
    .addOption(options.sslrootcert)
);

/** What is said, and where variables come from besides the environment. */
export const withLogAndEnvironment = group((command) =>
  command
    .addOption(options.logFormat)
    .addOption(options.verbose)
    .addOption(options.envFile)
    .addOption(options.noEnvFile)
);
