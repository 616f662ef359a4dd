/* The inverse of the regularised incomplete beta function. */
#ifndef SD_SAMPLE_BETA_QUANTILE_H
#define SD_SAMPLE_BETA_QUANTILE_H

/* The x in 0..1 at which the beta distribution with parameters a, b > 0 has accumulated `probability`
 * (0..1), to about 1e-14. */
double sd_beta_quantile(double probability, double a, double b);

#endif
