# The environment dev: where its state is, which account it lives in, and how big everything is.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }

  # Bucket, region and key are the account's: backend.hcl.example.
  backend "s3" {
    key          = "envs/dev/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

locals {
  tags = {
    "rtc:project"     = "rtc"
    "rtc:environment" = "dev"
    "rtc:managed-by"  = "terraform"
    "rtc:source"      = "terraform/envs/dev"
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}

# Small, in two zones, without standby; everything may be deleted, and what is spent stops machines by itself.
module "platform" {
  source = "../../modules/platform"

  environment         = "dev"
  tags                = local.tags
  protected           = false
  zones               = var.zones
  domain              = var.domain
  create_zone         = var.create_zone
  emails              = var.emails
  admins              = var.admins
  public_access_cidrs = var.public_access_cidrs

  network = {
    nat                      = "instance"
    interface_endpoints      = ["ecr.api", "ecr.dkr", "sts", "ssm", "ssmmessages", "ec2messages"]
    interface_endpoint_zones = "one"
  }

  cluster = {
    node_groups = {
      services = {
        instance_types = ["t3.large", "t3a.large"]
        capacity_type  = "SPOT"
        min_size       = 2
        max_size       = 4
        desired_size   = 2
      }
    }
  }

  database = {
    instance_class       = "db.t4g.medium"
    multi_az             = false
    replicas             = 0
    backup_days          = 3
    performance_insights = false
  }

  cache = {
    node_type = "cache.t4g.small"
    replicas  = 0
  }

  events = {
    backend = var.events_backend
    msk     = { instance_type = "kafka.t3.small", disk_gib = 50 }
    ec2     = { instance_type = "t3.small", disk_gib = 50 }
  }

  search = {
    instance_type = "t3.small.search"
    instances     = 1
  }

  ci = {
    instance_type = "t3.large"
  }

  budget = {
    monthly_usd    = var.monthly_budget_usd
    stop_by_itself = true
  }
}
