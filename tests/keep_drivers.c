/* Linked into the tests of sanitizer builds: drivers stay loaded until the process ends, so that the leak
 * checker can name their frames and tests/leaks.supp can tell their leaks from ours. */
int dlclose(void *handle);

int dlclose(void *handle) {
    (void)handle;
    return 0;
}
