# The environment prod: where its state is, which account it lives in, and how big everything is.

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
    key          = "envs/prod/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

locals {
  tags = {
    "rtc:project"     = "rtc"
    "rtc:environment" = "prod"
    "rtc:managed-by"  = "terraform"
    "rtc:source"      = "terraform/envs/prod"
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}

# Three zones, a standby or a replica of everything that holds data, and nothing of it can be deleted by accident.
module "platform" {
  source = "../../modules/platform"

  environment         = "prod"
  tags                = local.tags
  protected           = true
  zones               = var.zones
  domain              = var.domain
  create_zone         = var.create_zone
  emails              = var.emails
  admins              = var.admins
  public_access_cidrs = var.public_access_cidrs

  network = {
    nat                      = "gateways"
    interface_endpoints      = ["ecr.api", "ecr.dkr", "sts", "ssm", "ssmmessages", "ec2messages", "logs", "secretsmanager", "eks-auth"]
    interface_endpoint_zones = "all"
  }

  cluster = {
    node_groups = {
      services = {
        instance_types = ["m7i.large"]
        min_size       = 3
        max_size       = 12
        desired_size   = 3
      }
    }
  }

  database = {
    instance_class       = "db.r7g.large"
    storage_gib          = 100
    storage_max_gib      = 1000
    multi_az             = true
    replicas             = 1
    backup_days          = 14
    performance_insights = true
  }

  cache = {
    node_type = "cache.m7g.large"
    replicas  = 2
  }

  events = {
    backend = var.events_backend
    ec2     = { instance_type = "m7i.large", disk_gib = 200 }
  }

  search = {
    instance_type         = "m7g.large.search"
    instances             = 3
    dedicated_master_type = "m7g.medium.search"
    disk_gib              = 100
  }

  ci = {
    instance_type = "m7i.xlarge"
    disk_gib      = 100
  }

  budget = {
    monthly_usd    = var.monthly_budget_usd
    stop_by_itself = false
  }
}
