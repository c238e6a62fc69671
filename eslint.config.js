import js from '@eslint/js';
import globals from 'globals';

export default [
  { ignores: ['static/vendor/', 'target/', '**/node_modules/', 'tests/.python/'] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: { ecmaVersion: 2024, sourceType: 'module' },
    rules: {
      'array-callback-return': 'error',
      'default-case-last': 'error',
      eqeqeq: 'error',
      'no-constructor-return': 'error',
      'no-eval': 'error',
      'no-implicit-coercion': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'no-self-compare': 'error',
      'no-shadow': 'error',
      'no-template-curly-in-string': 'error',
      'no-throw-literal': 'error',
      'no-unmodified-loop-condition': 'error',
      'no-unused-expressions': 'error',
      // `{ symbol, ...rest }` is how a field is left out.
      'no-unused-vars': ['error', { ignoreRestSiblings: true }],
      'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
      'no-useless-rename': 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-template': 'error',
      'require-atomic-updates': 'error',
    },
  },
  { files: ['static/**/*.js'], languageOptions: { globals: globals.browser } },
  // Others copy it into programs of every kind: only what both browsers and Node have.
  { files: ['static/feed.js'], languageOptions: { globals: globals['shared-node-browser'] } },
  {
    files: ['tests/**/*.mjs', 'loadtest/*.js', 'loadtest/peers/**/*.js', 'bench/*.mjs', 'demo/*.mjs', '*.js'],
    languageOptions: { globals: globals.nodeBuiltin },
  },
  // These hand functions to the page.
  { files: ['tests/browser/**/*.mjs', 'bench/page.mjs'], languageOptions: { globals: globals.browser } },
];
