# Compiles one model in brms, samples it and writes what that took and the draws; called by
# bench_brms.py. Usage: Rscript brms.R three-level|profiles FOLDER WARMUP DRAWS CHAINS CORES RUNS
#
# FOLDER/rows.csv holds the data. Written there: facts.txt, "name value" a line, with clock and
# processor seconds; names.txt, the parameters; run1.bin, run2.bin ..., doubles of shape
# (draw, chain, parameter), the first index fastest.
arguments <- commandArgs(TRUE)
folder <- arguments[2]
setting <- setNames(as.integer(arguments[3:7]), c("warmup", "draws", "chains", "cores", "runs"))
suppressMessages(library(brms))
# Debian keeps Boost with the system's headers, where rstan does not look.
if (!nzchar(system.file("include", package = "BH"))) {
  rstan::rstan_options(boost_lib = "/usr/include")
}

rows <- read.csv(file.path(folder, "rows.csv"))
extra <- NULL
if (arguments[1] == "three-level") {
  formula <- bf(yi | se(sei) ~ 1 + (1 | district / school))
  priors <- c(set_prior("normal(0, 1)", class = "Intercept"),
              set_prior("normal(0, 0.5)", class = "sd"))
} else {
  # One column a condition: 1 for the case group's, -1 for the comparator's.
  conditions <- readLines(file.path(folder, "conditions.txt"))
  formula <- bf(paste0("yi | se(sei, sigma = TRUE) + cens(censored, upper) ~ 0 + (0 + ",
                       paste(conditions, collapse = " + "),
                       " | mechanism) + (1 | gr(study, by = mechanism))"))
  priors <- c(set_prior("normal(0, 1)", class = "sd", group = "mechanism"),
              set_prior("normal(0, tau_0)", class = "sd", group = "study"),
              set_prior("lkj(2)", class = "cor"),
              set_prior("normal(0, 0.5)", class = "sigma"))
  extra <- stanvar(scode = "  real<lower=0> tau_0;", block = "parameters") +
    stanvar(scode = "  target += normal_lpdf(tau_0 | 0, 0.5);", block = "model")
}

# Chains run in processes of their own, which R waits for: user and system seconds, theirs as well.
processor <- function() sum(proc.time()[c(1, 2, 4, 5)])
facts <- c(brms = as.character(packageVersion("brms")),
           rstan = as.character(packageVersion("rstan")),
           R = paste(R.version$major, R.version$minor, sep = "."))
clock <- Sys.time()
before <- processor()
model <- brm(formula, rows, prior = priors, stanvars = extra, chains = 0)
facts["compile"] <- as.numeric(Sys.time() - clock, units = "secs")
facts["compile_cpu"] <- processor() - before

for (run in seq_len(setting["runs"])) {
  clock <- Sys.time()
  before <- processor()
  fit <- brm(fit = model, seed = run, refresh = 0, warmup = setting["warmup"],
             iter = setting["warmup"] + setting["draws"], chains = setting["chains"],
             cores = setting["cores"])
  facts[paste0("sample", run)] <- as.numeric(Sys.time() - clock, units = "secs")
  facts[paste0("sample", run, "_cpu")] <- processor() - before
  facts[paste0("divergences", run)] <- rstan::get_num_divergent(fit$fit)
  if (run == 1) {
    facts["done"] <- sprintf("%.3f", as.numeric(Sys.time()))
    facts["done_cpu"] <- processor()
  }
  draws <- as.array(fit$fit)
  wanted <- grep("^(b_|sd_|cor_|r_mechanism|tau_0|sigma)", dimnames(draws)[[3]], value = TRUE)
  writeBin(as.vector(draws[, , wanted]), file.path(folder, paste0("run", run, ".bin")))
}
writeLines(wanted, file.path(folder, "names.txt"))
writeLines(paste(names(facts), facts), file.path(folder, "facts.txt"))
