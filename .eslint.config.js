// Only the type-aware promise rules, exhaustive switches, and what of Node.js must not be used: Biome does everything else.
import { parser, plugin } from 'typescript-eslint';

export default [
  { ignores: ['dist/**', 'node_modules/**'] },
  {
    files: ['**/*.ts'],
    languageOptions: { parser, parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { '@typescript-eslint': plugin },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
    },
  },
  // As a part of another signal it is lost with the next garbage.
  {
    files: ['{controller,state-machines,provisioners,compose}/**/*.ts'],
    ignores: ['provisioners/deadline.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'AbortSignal', property: 'timeout', message: 'Use deadline of provisioners/deadline.ts.' },
      ],
    },
  },
  // tap awaits its subtests itself.
  { files: ['test/**/*.test.ts', 'test/contracts/*.ts'], rules: { '@typescript-eslint/no-floating-promises': 'off' } },
];
